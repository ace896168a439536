"""The page of a scale: its exhibits, and what is embedded."""
