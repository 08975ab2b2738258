"""Finding devices politely; a person adopts."""
