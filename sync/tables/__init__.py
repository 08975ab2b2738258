"""Tables as they stand in SQLite: made, checked, filled and merged row by row."""
