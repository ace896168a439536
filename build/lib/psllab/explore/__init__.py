"""Widgets for notebooks: the discrepancy of a pool, the number of peers, a method of one's own."""
