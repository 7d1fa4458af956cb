"""The report: from evaluated results to sentences, tables, figures and one page."""
