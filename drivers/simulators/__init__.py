"""Simulated devices: the real protocol on a real transport, each with a ledger of what it sent."""
