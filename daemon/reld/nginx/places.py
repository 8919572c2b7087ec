"""The gate's directories: whose they are, and who may look into them.

    STATE            root, 0711: the way to gate/, all else in it is 0600 or 0700
    STATE/gate       root, group of the gate's user, 0750: the config, which reld alone may write
    RUNTIME          root, 0755
    RUNTIME/gate     the gate's user, 0750: its pid file and its logs
    RUNTIME/lanes    root, 0755: see `lanes`

Everything is reld's own user's where reld is not root.
"""

from __future__ import annotations

import os
from pathlib import Path

from reld.nginx import owner
from reld.nginx.settings import GateSettings

CONFIG_MODE = 0o640


def prepare(settings: GateSettings) -> None:
    """Makes them, or puts them right. Raises OSError, GateError."""
    gate = owner.of(settings.user)
    us = os.geteuid()
    _make(settings.state, 0o711 if gate.name else 0o700)
    _make(settings.config.parent, 0o750, us, gate.gid)
    _make(settings.runtime, 0o755)
    _make(settings.place, 0o750, gate.uid, gate.gid)


def entitle(path: Path, settings: GateSettings) -> None:
    """The gate may read this file of ours. Raises OSError, GateError."""
    os.chown(path, -1, owner.of(settings.user).gid, follow_symlinks=False)


def _make(path: Path, mode: int, uid: int = -1, gid: int = -1) -> None:
    # The directory above is ours: nobody else can have put a link here.
    path.mkdir(parents=True, exist_ok=True)
    found = path.stat()
    if (uid, gid) != (-1, -1) and (found.st_uid, found.st_gid) != (uid, gid):
        os.chown(path, uid, gid)
    if found.st_mode & 0o7777 != mode:
        path.chmod(mode)
