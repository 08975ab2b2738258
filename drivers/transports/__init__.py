"""Links to devices: serial descriptors and sockets."""
