"""From the receiving classes to their teacher: picture, voice, hands, answers."""
