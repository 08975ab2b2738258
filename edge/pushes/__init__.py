"""The port on which attendance terminals call the box, and what it lets in."""
