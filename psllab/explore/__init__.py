"""For notebooks: discrepancy, the number of peers, one's own method."""
