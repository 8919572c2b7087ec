"""Locations that the gate answers from disk: the newest release first, then those that are kept.

A tab that was opened hours ago asks for the scripts of its release: the directory is still there.
What no directory has is asked of the app as any other request. `try_files` finds all that is not
there by itself, so a config stays good when directories vanish.

What is served so has no upstream and no line in the request log: nobody's verdict, nobody's error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from reld.errors import GateError
from reld.nginx.settings import GateSettings, Static

MIME_TYPES = Path("/etc/nginx/mime.types")
MOST = 10
"""Releases that are looked into; each costs a lookup for a file that is not there."""

_ROOT = re.compile(r"/[A-Za-z0-9_./@+-]{1,400}")


def fits(root: str) -> bool:
    """Whether a directory's path may become nginx text."""
    return _ROOT.fullmatch(root) is not None and ".." not in root.split("/")


def check_roots(roots: Sequence[str]) -> None:
    """Raises GateError for a directory that must not become nginx text."""
    for root in roots:
        if not fits(root):
            raise GateError(f"cannot write a gate config: release directory does not fit: {root!r}")


def maps(settings: GateSettings, roots: Sequence[str]) -> str:
    """Directives of the http level. Below /dev/null there is nothing: other methods are the app's."""
    if not settings.static or not roots:
        return ""
    return "    map $request_method $disk { GET ''; HEAD ''; default /dev/null; }\n"


def locations(settings: GateSettings, *, both: bool, roots: Sequence[str]) -> Iterator[str]:
    """Of the server: prefixes whose files are on disk, and those where the other slot is asked, too.

    `both`: two slots are named. One location for each prefix, whichever of the two lists has it.
    """
    static = settings.static if roots else ()
    assets = settings.assets if both else ()
    for prefix in dict.fromkeys([*(s.url for s in static), *assets]):
        kind = "assets" if any(prefix.startswith(a) for a in assets) else "$kind"
        app = f"@${{slot}}_{kind}"
        yield f"        location ^~ {prefix} {{\n"
        covering = [s for s in static if prefix.startswith(s.url)]
        if covering:
            yield from _from_disk(settings, max(covering, key=lambda s: len(s.url)), roots, app)
        yield f"            try_files /- {app};\n        }}\n"


def _from_disk(
    settings: GateSettings, static: Static, roots: Sequence[str], app: str
) -> Iterator[str]:
    # The path is decoded and free of .. when it meets a regex. No segment begins with a dot, none is
    # empty, the last one is no directory. Possessive: a long path costs no more than its length.
    quoted = re.sub(r"([.+])", r"\\\1", static.url)
    yield f'            location ~ "^{quoted}(?<on_disk>(?:[^./][^/]*+/)*+[^./][^/]*+)\\z" {{\n'
    files = " ".join(f"$disk{root}/{static.dir}/$on_disk" for root in roots)
    # A link is followed only where it and what it leads to have one owner, so that shared directories
    # work and nobody else's files get out. On the whole way: a release's own directory may become a
    # link, too, and no link was on that way when it was written.
    lines = [
        "root /",
        "disable_symlinks if_not_owner",
        f"include {MIME_TYPES}",
        "default_type application/octet-stream",
        "sendfile on",
        "tcp_nopush on",
        "access_log off",
        # What the gate may not read is told once, when a release is prepared, not for each request.
        f"error_log {settings.error_log} emerg",
        f"try_files {files} {app}",
        # It vanished after it was found, or may not be read.
        f"error_page 403 404 = {app}",
    ]
    if static.cache:
        lines.append(f'add_header Cache-Control "public, max-age={static.cache:.0f}, immutable"')
    yield "".join(f"                {line};\n" for line in lines)
    yield "            }\n"
