"""What records amount to: statistics, verdicts, figures, tables, the page."""
