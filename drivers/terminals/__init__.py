"""Attendance terminals: devices that call the box and tell who was seen."""
