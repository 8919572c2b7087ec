"""`relctl plan`: what a switch would do, said before anybody does it. Pure: others look, see host/ahead.py."""
