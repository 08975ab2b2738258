"""Messages between two nodes, without any I/O."""
