"""Encrypted logs, their exchange, and the tables they fold into."""
