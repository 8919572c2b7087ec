"""Exit codes, and the one exception that carries them to the person who typed the command."""

from __future__ import annotations

TYPE_CHECKING = False  # not typing's: importing typing costs a quarter of `relctl status`
if TYPE_CHECKING:
    from typing import Any

DONE = 0
FAILED = 1
USAGE = 2
WENT_BACK = 3
NOT_PERMITTED = 4
UNREACHABLE = 5
BUSY = 6
TIMED_OUT = 7
NEEDS_OPERATOR = 9
BUG = 70
DETACHED = 130


class CtlError(Exception):
    """A command that cannot go on.

    Args:
        message: what cannot be done and why; one sentence, no capital, no full stop.
        exit_code: what relctl ends with.
        code: stable word for programs.
        hint: what to type next; empty where there is nothing to type.
        rollout: the rollout that is meant, where there is one.
    """

    def __init__(
        self,
        message: str,
        exit_code: int,
        code: str,
        hint: str = "",
        rollout: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.code = code
        self.hint = hint
        self.rollout = rollout

    def as_json(self) -> dict[str, Any]:
        """The body that reld uses for its own refusals, so that a program needs one reader."""
        error: dict[str, Any] = {
            "code": self.code,
            "exit": self.exit_code,
            "message": self.message,
            "hint": self.hint,
        }
        if self.rollout is not None:
            error["rollout"] = self.rollout
        return {"error": error}


class UsageError(CtlError):
    """The command line makes no sense; nothing was sent."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, USAGE, "usage", hint)


class UnreachableError(CtlError):
    """No reld behind the socket, or it went away in the middle of an answer."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, UNREACHABLE, "unreachable", hint)


class DetachedError(CtlError):
    """Somebody stopped watching; what was watched goes on."""

    def __init__(self, message: str, hint: str = "", rollout: int | None = None) -> None:
        super().__init__(message, DETACHED, "detached", hint, rollout)


class LostError(CtlError):
    """Nobody reads what we write any more: the terminal, the SSH connection or the pipe is gone."""

    def __init__(self) -> None:
        super().__init__("nobody reads the output any more", DETACHED, "lost")


class WaitOverError(CtlError):
    """`--timeout` is over. The rollout goes on: only the waiting ends."""

    def __init__(self) -> None:
        super().__init__("the wait timed out", TIMED_OUT, "timeout")
