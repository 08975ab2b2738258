"""Delivery lessons at the school: capture, fragments, classroom."""
