"""Persons' keys, their backup, forgetting, and rebuilding a school."""
