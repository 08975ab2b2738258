"""Takes between a box and the hub: live first, holes afterwards, and what a recording lacks."""
