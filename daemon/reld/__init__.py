"""reld: looks after one app in two slots, blue and green, behind a gate of its own."""

__version__ = "0.1.0"
