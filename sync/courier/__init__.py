"""The same segments on a USB stick."""
