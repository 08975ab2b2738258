"""The teacher's remote: its code, times and slides."""
