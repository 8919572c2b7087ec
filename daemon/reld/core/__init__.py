"""Every decision of reld, and nothing else: no I/O, no clock, no randomness, no logging."""
