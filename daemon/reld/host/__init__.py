"""The host: does to the real machine what the core says should be going on."""
