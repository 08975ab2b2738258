"""Rosters: what a file of people says, line by line, and a school's part sealed to its box."""
