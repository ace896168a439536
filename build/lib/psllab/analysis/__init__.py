"""From records to numbers: statistics, figures, tables, machines."""
