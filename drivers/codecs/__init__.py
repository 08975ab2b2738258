"""Pure protocol codecs: bytes in, events out; no clock, no I/O."""
