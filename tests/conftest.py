"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# Shared machines are noisy: a slow example is no failure. pytest-timeout bounds what hangs.
settings.register_profile("relctl", deadline=None)
settings.load_profile("relctl")
