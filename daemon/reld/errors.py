"""The errors that reld tells people about.

    RelctlError                     what, why, and what to type next
    ├── ConfigError          8      the config file is wrong (all findings at once)
    ├── Refused              1      the request cannot be done
    │   ├── BadRequest       2      it makes no sense
    │   ├── NotPermitted     4      the caller may not
    │   ├── Busy             6      another rollout is active
    │   └── NeedsOperator    9      a person has to decide first
    ├── PrepareError         1      a release cannot be started on this machine
    ├── LaunchError          1      an instance cannot be started
    ├── GateError            9      the gate does not do what it should
    └── StoreError           9      the state cannot be read or written

The number is the exit code that `relctl` ends with.
"""

from __future__ import annotations

from typing import ClassVar


class RelctlError(Exception):
    """Root of the tree.

    Args:
        message: what cannot be done and why, one sentence, no capital, no full stop.
        hint: what to type next; empty where there is nothing to type.
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(RelctlError):
    """The config file is wrong; `findings` holds every line that says so."""

    code = "config-invalid"
    exit_code = 8

    def __init__(self, findings: tuple[str, ...]) -> None:
        super().__init__("\n".join(findings))
        self.findings = findings


class Refused(RelctlError):
    code = "refused"
    exit_code = 1


class BadRequest(Refused):
    code = "bad-request"
    exit_code = 2


class NotPermitted(Refused):
    code = "not-permitted"
    exit_code = 4


class Busy(Refused):
    code = "busy"
    exit_code = 6


class NeedsOperator(Refused):
    code = "needs-operator"
    exit_code = 9


class PrepareError(RelctlError):
    code = "prepare-failed"
    exit_code = 1


class LaunchError(RelctlError):
    code = "launch-failed"
    exit_code = 1


class GateError(RelctlError):
    code = "gate"
    exit_code = 9


class StoreError(RelctlError):
    code = "store"
    exit_code = 9
