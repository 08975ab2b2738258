"""The adopted devices: who drives each of them."""
