"""One page that stands alone: HTML, style and scripts joined, and the policy that lets nothing else run.

What is of one person is in `<meta>`: the token (operators only), the name, the start of reld. Everything
else comes through /v1, and the page puts it in as text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from functools import cache
from pathlib import Path

from reld import __version__

_HERE = Path(__file__).parent
_SCRIPTS = ("words.js", "charts.js", "slots.js", "rollout.js", "lists.js", "acts.js", "page.js")
"""In this order: what the later ones use is in the earlier ones."""


def page(name: str, token: str, start: str) -> tuple[bytes, dict[str, str]]:
    """The page for the user `name`, and its headers. `token`: empty for who may only look.

    Raises:
        OSError: its parts are not there.
    """
    head, rest, policy = _parts()
    about = {"user": name, "token": token, "start": start, "version": __version__}
    metas = "".join(
        f'<meta name="relctl-{key}" content="{html.escape(value)}">' for key, value in about.items()
    )
    headers = {
        "Content-Security-Policy": policy,
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Content-Type": "text/html; charset=utf-8",
    }
    return b"".join((head, metas.encode("utf-8", "replace"), rest)), headers


@cache
def _parts() -> tuple[bytes, bytes, str]:
    style = re.sub(r" ?([{};:,])\s", r"\1", _read("style.css")).replace(";}", "}")
    body = "\n".join(map(_squeezed, "\n".join(map(_read, _SCRIPTS)).splitlines()))
    script = f'(() => {{\n"use strict";\n{body}\n}})();'
    head, _, rest = _read("page.html").partition("<!-- about -->")
    rest = rest.replace("/* style */", style, 1).replace("/* script */", script, 1)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_digest(script)}",
            f"style-src {_digest(style)}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            # Text cannot become markup, not even by a mistake in the scripts.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
    return head.encode(), rest.encode(), policy


def _squeezed(line: str) -> str:
    """Without the spaces that mean nothing; a line that could be misread stays as it is."""
    if re.search(r"['/]", line) or line.count("`") not in (0, 2):
        return line
    parts = re.split(r'("(?:[^"\\]|\\.)*"|`[^`]*`)', line)
    parts[::2] = [re.sub(r" ?([=,{}()?:&|<>;]+) ?", r"\1", part) for part in parts[::2]]
    return "".join(parts)


def _read(name: str) -> str:
    text = (_HERE / name).read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
