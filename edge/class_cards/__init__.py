"""Class cards: the paired screens, what the office puts on them, and the taps they deliver."""
