"""For the gate's unit, before and after it starts nginx: `reld --gate keep|let-go STATE`.

The workers of a master that was killed go on serving, with its listening sockets. systemd keeps those
for the moment between the old master and the new one (its file descriptor store), and gives them to
nginx, which the unit tells by the environment variable NGINX. So nobody is refused, no reld is needed,
and it is always systemd that starts the gate: there are never two.
"""

from __future__ import annotations

import array
import os
import re
import select
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from reld.errors import GateError
from reld.nginx import master, owner, takeover

_LISTEN = re.compile(r"^\s+listen ([^ ;]+)", re.MULTILINE)
_NAME = "gate"
_SEEN_WITHIN = 5.0


def main(arguments: Sequence[str]) -> int:
    """What the unit calls, as root; an exit status."""
    what, state = arguments
    try:
        addresses = _LISTEN.findall((Path(state) / "gate" / "gate.conf").read_text())
        # The unit says who the gate is, and systemd gives the directory to that user.
        place = os.stat(os.environ["RUNTIME_DIRECTORY"].partition(":")[0])
        gate = owner.Owner(None, place.st_uid, place.st_gid)
        {"keep": keep, "let-go": let_go}[what](addresses, gate)
    except (OSError, GateError) as error:
        print(f"reld: {error}", file=sys.stderr)
        return 1
    return 0


def keep(addresses: Sequence[str], gate: owner.Owner) -> None:
    """Gives systemd the listening sockets of orphaned workers. Raises OSError, GateError."""
    with takeover.take(addresses, gate) as taken:
        for number in taken.sockets:
            _notify(f"FDSTORE=1\nFDNAME={_NAME}", number)
        _until_seen()


def let_go(addresses: Sequence[str], gate: owner.Owner) -> None:
    """A new master has them, or none will: systemd forgets them, and orphans leave when a master is
    there. Raises OSError, GateError.
    """
    _notify(f"FDSTOREREMOVE=1\nFDNAME={_NAME}")
    _until_seen()
    left = takeover.orphans(addresses, gate)
    ours = {w.pid for w in left}
    for address in addresses:
        if not set(master.owners(address)) - ours - {1}:
            return  # nobody else serves it
    for orphan in left:
        master.send(orphan.process, signal.SIGQUIT)


def _until_seen() -> None:
    """Returns when systemd has read all that was said before: sd_notify(3), BARRIER=1."""
    ours, theirs = os.pipe()
    try:
        _notify("BARRIER=1", theirs)
    finally:
        os.close(theirs)
    poll = select.poll()
    poll.register(ours, 0)
    seen = poll.poll(_SEEN_WITHIN * 1000)
    os.close(ours)
    if not seen:
        raise GateError(f"cannot hand the gate's sockets over: no word in {_SEEN_WITHIN:g} s")


def _notify(words: str, file: int | None = None) -> None:
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as said:
        rights = (
            []
            if file is None
            else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
        )
        said.sendmsg([words.encode()], rights, 0, address.replace("@", "\0", 1))
