"""Before the bell: what is looked at, and what was before the lesson took the room."""
