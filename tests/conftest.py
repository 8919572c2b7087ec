"""What holds for all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# Shared machines are noisy: a slow example is no failure. pytest-timeout bounds what hangs.
settings.register_profile("relctl", deadline=None)
settings.load_profile("relctl")

# A shell's background job ignores Ctrl-C, and so would every relctl that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
