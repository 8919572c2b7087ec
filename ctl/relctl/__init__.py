"""relctl, the command line of reld. Speaks HTTP/JSON over reld's Unix socket and imports nothing of it."""

__version__ = "0.1.0"
