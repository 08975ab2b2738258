"""Panic buttons, doors and detectors, the alarms they raise, and the drills that practise them."""
