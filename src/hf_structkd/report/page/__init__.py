"""The page `report.html` of a run: one file that works without a network."""
