"""The report's sections, one file each: results -> blocks. What was not asked or measured says in a sentence how it would be."""
