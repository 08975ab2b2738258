"""What the hub says to people, in Chinese and in English."""
