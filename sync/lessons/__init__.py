"""A lesson's media: fragments, their own small wire."""
