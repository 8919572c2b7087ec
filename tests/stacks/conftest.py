"""The package that the stacks are installed with."""

from __future__ import annotations

from tests.vm.conftest import deb  # noqa: F401  the same one
