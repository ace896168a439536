"""The report of a scale: one HTML page of exhibits with the records they rest on embedded."""
