"""One reader per kind of value: TOML in, checked Python out, or `WrongError` with what to write.

Whatever reaches the gate's nginx (host, assets, addresses, route names and matches) passes an
allow-list here, not a list of what is dangerous.
"""

from __future__ import annotations

import ipaddress
import math
import re
import signal as signals
import warnings
from collections.abc import Callable
from typing import Any

from reld.config import COMMAND_PLACEHOLDERS, PortRange
from reld.config_toml import one_line

Reader = Callable[[Any], Any]

DURATION = 'a duration such as "30s", "5m", "1h30m" or "200ms"'
ARGV = 'a list of the program and its arguments, such as ["bin/serve", "--port", "{port}"]'
_YEAR = 365 * 86400.0
_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_DURATION = re.compile(
    rf"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m(?!s))?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?"
)
_SECONDS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_BRACES = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_KNOWN = re.compile(r"\{(?:" + "|".join(COMMAND_PLACEHOLDERS) + r")\}")
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]"
_ADDRESS = re.compile(rf"({_HOST}):([0-9]{{1,5}})")
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LOOPBACK = re.compile(rf"(?:127(?:\.{_OCTET}){{3}}|\[::1\]):[0-9]+")
# What Python and PCRE read alike, nginx's quotes do not change, and is no nginx variable.
_REGEX = re.compile(
    r"(?:\\[.dDwWsSbB/+*?^|()\[\]-]|\(\?[:=!]|\((?!\?)|\$(?=[|)]|\Z)|[A-Za-z0-9/_.~%!*+?^|)\[\],=:@&<>-])+"
)


class WrongError(Exception):
    """A value that cannot be; `meant` is a guess, ready to be typed."""

    def __init__(self, what: str, expected: str, meant: str = "") -> None:
        super().__init__(what)
        self.what, self.expected, self.meant = what, expected, meant


def show(value: object) -> str:
    """A value as the file could say it, short and on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    try:
        text = f'"{value}"' if isinstance(value, str) else str(value)
    except ValueError:  # an integer too long to print
        return "a huge number"
    return one_line(text if len(text) <= 60 else text[:56] + "…" + '"' * isinstance(value, str))


def text(value: Any, expected: str = 'text in quotes, such as "web"') -> str:
    if not isinstance(value, str):
        meant = f'"{show(value)}"' if type(value) in (int, float) else ""
        raise WrongError(f"{show(value)} is not text", expected, meant)
    if "\0" in value:
        raise WrongError("has a NUL character", "text without one")
    return value


def matching(pattern: str, expected: str) -> Reader:
    compiled = re.compile(pattern)

    def read(value: Any) -> str:
        if not compiled.fullmatch(text(value, expected)):
            raise WrongError(f"{show(value)} is not possible here", expected)
        return str(value)

    return read


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise WrongError(
            f"{show(value)} is neither true nor false", "true or false, without quotes"
        )
    return value


def integer(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        expected = f"a whole number from {low} to {high}"
        if not isinstance(value, int) or isinstance(value, bool):
            raise WrongError(f"{show(value)} is not a whole number", expected)
        if not low <= value <= high:
            raise WrongError(f"{show(value)} is out of range", expected)
        return value

    return read


def duration(low: float = 0.0, high: float = _YEAR) -> Reader:
    """Seconds; `low` is the shortest one that makes sense, `high` the longest."""

    def read(value: Any) -> float:
        if type(value) in (int, float):
            raise WrongError(f"{show(value)} has no unit", DURATION, f'"{show(value)}s"')
        if not isinstance(value, str):
            raise WrongError(f"{show(value)} is not a duration", DURATION)
        found = _DURATION.fullmatch(value)
        if value != "0" and (not found or not value):
            short = re.sub(r"\s+|in(utes?)?\b|econds?|ours?|ec\b|r\b", "", value[:40].lower())
            meant = f'"{short}"' if short and _DURATION.fullmatch(short) else ""
            raise WrongError(f"{show(value)} is not a duration", DURATION, meant)
        parts = found.groups() if found else ()
        # One rounding at the end: "1.1s" is 1.1, not 1.1000000000000001.
        seconds = sum(float(n) * unit for n, unit in zip(parts, _SECONDS, strict=False) if n)
        if not low <= seconds <= high:
            longest = f"{high / 86400:g} day{'s' * (high > 86400)}"
            raise WrongError(f"{show(value)} is out of range", f"{low:g} s to {longest}")
        return round(seconds, 9)

    return read


def size(value: Any) -> int:
    """Bytes; K, M, G and T are powers of 1024."""
    found = re.fullmatch(r"([0-9]{1,9})([KMGT])", value) if isinstance(value, str) else None
    if not found:
        raise WrongError(f"{show(value)} is not a size", 'a size such as "64K", "512M" or "2G"')
    return int(found[1]) << (10 * (" KMGT".index(found[2])))


def fraction(example: str, high: float) -> Reader:
    """A fraction of 1 above 0: "1/1000", "5%" or 0.05."""

    def read(value: Any) -> float:
        expected = f'a share such as {example}, above 0 and at most "{high * 100:g}%"'
        if isinstance(value, str):
            found = re.fullmatch(rf"{_NUMBER} ?(?:(%)|/ ?{_NUMBER})", value)
            if not found:
                raise WrongError(f"{show(value)} is not a share", expected)
            below = 100.0 if found[2] else float(found[3])
            result = float(found[1]) / below if below else math.inf
        elif type(value) is float:
            result = value
        else:
            meant = f'"{value}%"' if type(value) is int and 0 < value <= high * 100 else ""
            raise WrongError(f"{show(value)} is not a share", expected, meant)
        if not 0 < result <= high:
            raise WrongError(f"{show(value)} is out of range", expected)
        return result

    return read


def fraction_or_none(example: str, high: float) -> Reader:
    """The same, and 0 for "off"."""
    read = fraction(example, high)

    def read_or_none(value: Any) -> float:
        return 0.0 if type(value) in (int, float) and value == 0 else float(read(value))

    return read_or_none


def items(value: Any, expected: str) -> list[Any]:
    if not isinstance(value, list):
        raise WrongError(f"{show(value)} is not a list", expected)
    return value


def many(read: Reader, expected: str) -> Reader:
    return lambda value: tuple(read(item) for item in items(value, expected))


def each_once(read: Reader, expected: str) -> Reader:
    def read_all(value: Any) -> tuple[Any, ...]:
        found = many(read, expected)(value)
        if twice := [item for item in found if found.count(item) > 1]:
            raise WrongError(f"{show(twice[0])} is there twice", expected)
        return tuple(found)

    return read_all


def argv(placeholders: tuple[str, ...]) -> Reader:
    """A command: never a string, because there is no shell that would take it apart."""

    def read(value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            words = ", ".join(f'"{word}"' for word in value.split()[:12])
            plain = words and not re.search(r"""["'\\]""", value) and value.isprintable()
            raise WrongError("a string is not taken apart by any shell", ARGV,
                        f"[{words}]" if plain else "")  # fmt: skip
        arguments = tuple(text(item, ARGV) for item in items(value, ARGV))
        if not arguments or not arguments[0].strip():
            raise WrongError("there is no program in it", ARGV)
        for argument in arguments:
            template(argument, placeholders)
        return arguments

    return read


def template(value: str, placeholders: tuple[str, ...]) -> None:
    for found in _BRACES.findall(value):
        known = " ".join(f"{{{name}}}" for name in placeholders)
        if len(found) == 1:
            raise WrongError(
                f"lone {found} in {show(value)}", f"{known}; a literal brace is {found * 2}"
            )
        if found not in ("{{", "}}") and found[1:-1] not in placeholders:
            literal = show(f"{{{found}}}").strip('"')
            raise WrongError(f"{show(found)[1:-1]} is no placeholder here",
                        f"one of {known}; literal braces are {literal}")  # fmt: skip


def plain(value: Any) -> str:
    """Text that is taken as it is: a placeholder in it would be a surprise."""
    if found := _KNOWN.search(text(value)):
        raise WrongError(f"{found[0]} is not filled in here",
                    "placeholders in command only; PORT and RELCTL_RELEASE are in the environment")  # fmt: skip
    return str(value)


def absolute(value: Any) -> str:
    expected = 'an absolute path, such as "/etc/relctl/web.env"'
    if not plain(value).startswith("/") or not value.isprintable():
        raise WrongError(f"{show(value)} is not an absolute path", expected)
    return str(value)


def directory(value: Any) -> str:
    expected = 'an absolute path with {release} in it, such as "/srv/web/releases/{release}"'
    value = text(value, expected)
    if not value.startswith("/") or not value.isprintable():
        raise WrongError(f"{show(value)} is not an absolute path", expected)
    if ".." in value.split("/"):
        raise WrongError(f"{show(value)} climbs with ..", expected)
    template(value, ("release",))
    if "{release}" not in value.replace("{{", ""):
        meant = f'"{value.rstrip("/").removesuffix("/current")}/{{release}}"'
        what = f"{show(value)} is the same for every release"
        raise WrongError(what, expected, "" if "{" in value else meant)
    return str(value)


def env(value: Any) -> tuple[tuple[str, str], ...]:
    expected = 'a table of names and texts, such as { LANG = "C.UTF-8" }'
    if not isinstance(value, dict):
        raise WrongError(f"{show(value)} is not a table", expected)
    for name, content in value.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise WrongError(f"{show(name)} is no name of a variable", "letters, digits and _")
        if name == "PORT" or name.startswith("RELCTL_"):
            raise WrongError(f"{name} is set by reld", "names other than PORT and RELCTL_…")
        _member(name, content, plain)
    return tuple(value.items())


def headers(value: Any) -> tuple[tuple[str, str], ...]:
    expected = 'a table of names and texts, such as { Accept = "text/html" }'
    if not isinstance(value, dict):
        raise WrongError(f"{show(value)} is not a table", expected)
    for name, content in value.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise WrongError(f"{show(name)} is no name of a header", expected)
        if not re.fullmatch(r"[ -~]*", _member(name, content, text)):
            raise WrongError(f"the value of {name} is not plain ASCII text", "printable ASCII")
    return tuple(value.items())


def _member(name: str, value: Any, read: Reader) -> str:
    try:
        return str(read(value))
    except WrongError as wrong:
        raise WrongError(f"{name}: {wrong.what}", wrong.expected, wrong.meant) from None


def statuses(value: Any) -> tuple[int, ...]:
    expected = "a list of status codes, such as [200, 302]"
    read = many(integer(100, 599), expected)(value)
    if not read:
        raise WrongError("is empty", expected)
    return tuple(read)


def successes(value: Any) -> tuple[int, ...]:
    """A 4xx is a refusal and a 5xx a failure, wherever it is."""
    expected = "a list of status codes from 200 to 399, such as [302]"
    read = many(integer(200, 399), expected)(value)
    if not read:
        raise WrongError("is empty", expected)
    return tuple(read)


def stop_signal(value: Any) -> str:
    expected = "the name of a signal that asks to stop, such as SIGTERM, SIGINT or SIGQUIT"
    name = text(value, expected).upper()
    names = {s.name for s in signals.Signals} - {"SIGKILL", "SIGSTOP"}
    if value in names:
        return name
    meant = next((f'"{n}"' for n in (name, f"SIG{name}") if n in names), "")
    raise WrongError(f"{show(value)} is no signal to stop an app with", expected, meant)


def address(value: Any) -> str:
    """host:port; "localhost" becomes 127.0.0.1, which nginx would otherwise look up itself."""
    expected = '"HOST:PORT", such as "127.0.0.1:8000"'
    found = _ADDRESS.fullmatch(text(value, expected))
    if not found or not 1 <= int(found[2]) <= 65535:
        raise WrongError(f"{show(value)} is no address", expected)
    host = "127.0.0.1" if found[1].lower() == "localhost" else found[1]
    return f"{host}:{int(found[2])}"


def is_loopback(checked: str) -> bool:
    return _LOOPBACK.fullmatch(checked) is not None


def loopback(value: Any) -> str:
    if not is_loopback(checked := address(value)):
        expected = 'a loopback address, such as "127.0.0.1:8080"'
        raise WrongError(f"{show(value)} can be reached from outside", expected)
    return checked


def upstream(value: Any) -> str:
    """An IP address and a port, or a socket: nginx would look a name up once, and keep what it was."""
    if text(value).startswith("unix:"):
        if not re.fullmatch(r"unix:/[A-Za-z0-9/_.@+-]{1,100}", value) or ".." in value:
            raise WrongError(
                f"{show(value)} is no address",
                '"unix:/run/web.sock" (at most 101 characters, no ..)',
            )
        return str(value)
    checked = address(value)
    try:
        ipaddress.ip_address(checked.rpartition(":")[0].strip("[]"))
    except ValueError:
        expected = 'an IP address and a port, such as "127.0.0.1:8000"'
        raise WrongError(f"{show(value)} has a name in it", expected) from None
    return checked


def regex(value: Any) -> str:
    expected = (
        'a regex of the path such as "^/checkout" (no quotes, blanks, braces, ; or \\\\;'
        " $ only at an end)"
    )
    if len(text(value, expected)) > 200 or not _REGEX.fullmatch(value):
        raise WrongError(f"{show(value)} is not safe in the gate's config", expected)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "possible nested set": PCRE reads it differently
            re.compile(value)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise WrongError(
            f"{show(value)} does not compile: {one_line(str(error))}", expected
        ) from None
    return str(value)


def port_range(value: Any) -> PortRange:
    expected = '"FIRST-LAST" between 1024 and 65535, such as "21000-21099"'
    found = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text(value, expected))
    if not found or not 1024 <= int(found[1]) <= int(found[2]) <= 65535:
        raise WrongError(f"{show(value)} is no range of ports", expected)
    return PortRange(int(found[1]), int(found[2]))


NAME = matching(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "letters, digits, dots, _ and - (at most 64), no blanks"
)
USER = matching(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?", 'the name of a user, such as "web"')
MEMBER = matching(r"@?[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?", 'a user, or a group such as "@relctl"')
HOST = matching(rf"(?:{_HOST})(?::[0-9]{{1,5}})?", 'a host name, such as "www.example.com"')
PATH = matching(r"/[!-~]*", 'a path that begins with "/", such as "/ready"')
ASSETS = matching(
    r"/(?!/)(?!.*(?:\.\.|//))[A-Za-z0-9/_.~+@-]{1,200}",
    'a prefix such as "/assets/" (letters, digits and /_.~+@-, no .. and no //)',
)
METHOD = matching(r"[A-Z]{1,20}", 'an HTTP method in capitals, such as "GET"')
UNIT = matching(
    r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,246}\.(?:service|scope|slice|socket)",
    'the name of a unit, such as "myapp.service"',
)


def choice(*names: str) -> Reader:
    def read(value: Any) -> str:
        if value not in names or not isinstance(value, str):
            raise WrongError(
                f"{show(value)} is not possible here", " or ".join(f'"{n}"' for n in names)
            )
        return value

    return read
