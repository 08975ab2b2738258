"""Attendance: what taps, timetable and leave say of who was where, and what a person corrects."""
