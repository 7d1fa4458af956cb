"""The report's figures, one file each: results -> a matplotlib figure, or None where there is nothing to draw."""
