"""Delivery lessons at the hub: schedule, pairing, relay."""
