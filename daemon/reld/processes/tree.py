"""All processes that came out of one: found, signalled, ended.

A process leaves its parent's tree easily: `setsid` leaves the session, a double fork leaves the
parent. Nobody leaves the cgroup of a unit of systemd; where there is none, there are three ways to find
it: the session, the line of parents (remembered, for the time when the parent is gone), and at the end a
marker in its environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from reld.core.model import Identity
from reld.processes import cgroup
from reld.processes.environment import MARKER
from reld.processes.identity import Stat, adopt, boot_id, every_stat, identity_of

_FIRST_PAUSE = 0.002  # seconds between two rounds of SIGKILL, doubling …
_LONGEST_PAUSE = 0.1  # … up to this


class Tree:
    """The processes of one instance: its root was started as the leader of its own session.

    Args:
        root: the process that was launched.
        marker: its value of RELCTL_INSTANCE; empty: this way of finding processes is not used.
        group: the cgroup that it was started in; None: it has none of its own.
    """

    def __init__(self, root: Identity, marker: str = "", group: Path | None = None) -> None:
        self.root = root
        self.marker = marker
        self._group = group
        self._seen: set[Identity] = {root}

    def members(self) -> frozenset[Identity]:
        """Those that run now, the root among them; remembers them. About 20 µs per process here."""
        return self._members(every_stat())

    def hidden(self) -> frozenset[Identity]:
        """Those that only the marker gives away: they left the session and their parents."""
        stats = every_stat()
        found = frozenset(s.identity for s in _marked(self.marker, stats))
        return found - self._members(stats)

    def everyone(self) -> frozenset[Identity]:
        """`members` and `hidden`; the hidden ones are remembered from now on."""
        stats = every_stat()
        self._seen.update(s.identity for s in _marked(self.marker, stats))
        return self._members(stats)

    @property
    def is_empty(self) -> bool:
        return not self.everyone()

    def _members(self, stats: dict[int, Stat]) -> frozenset[Identity]:
        if self.root.boot_id != boot_id():
            return frozenset()
        inside = {i.pid for i in self._seen if (s := stats.get(i.pid)) and s.identity == i}
        inside |= self._session(stats)
        if self._group is not None:
            inside |= cgroup.pids(self._group) & stats.keys()
        children: dict[int, list[int]] = {}
        for stat in stats.values():
            children.setdefault(stat.parent, []).append(stat.pid)
        reached, todo = set(inside), list(inside)
        while todo:
            for pid in children.get(todo.pop(), ()):
                if pid not in reached:
                    reached.add(pid)
                    todo.append(pid)
        reached -= _ourselves(stats)
        found = frozenset(stats[pid].identity for pid in reached if not stats[pid].over)
        self._seen = {self.root, *found}
        return found

    def _session(self, stats: dict[int, Stat]) -> set[int]:
        leader = stats.get(self.root.pid)
        if leader is not None and leader.start_ticks != self.root.start_ticks:
            # The number was given to a stranger, so the session has been empty in between: the
            # kernel does not reuse a number that is still a session's.
            return set()
        return {
            s.pid
            for s in stats.values()
            if s.session == self.root.pid and s.start_ticks >= self.root.start_ticks
        }


def marked(value: str) -> frozenset[Identity]:
    """Running processes with RELCTL_INSTANCE=value: of hooks that an earlier reld started, too."""
    return frozenset(s.identity for s in _marked(value, every_stat()))


def send_stop(pidfd: int, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; False: it is gone."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


async def kill_tree(tree: Tree, within: float = 10.0) -> bool:
    """SIGKILL to all until nobody is left, at most `within` seconds; True: the tree is empty.

    The first round is sent before the first wait, so even a cancelled call has killed. False means
    a process that the kernel cannot end now (disk or network file system does not answer) or a
    right that we lack.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    pause = _FIRST_PAUSE
    while True:
        victims = tree.everyone()
        if not victims:
            return True
        # Masters before workers, or they log and replace what they lose.
        for victim in sorted(victims, key=lambda v: (v != tree.root, v.start_ticks, v.pid)):
            _kill(victim)
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _kill(victim: Identity) -> None:
    pidfd = adopt(victim)
    if pidfd is None:
        return
    try:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _marked(value: str, stats: dict[int, Stat]) -> list[Stat]:
    if not value:
        return []
    wanted = f"{MARKER}={value}".encode()
    spared = _ourselves(stats)
    found = []
    for stat in stats.values():
        if stat.over or stat.pid in spared:
            continue
        try:
            environ = Path(f"/proc/{stat.pid}/environ").read_bytes()
        except OSError:
            continue
        # The second look: the pid may have been reused since the first.
        if wanted in environ.split(b"\0") and identity_of(stat.pid) == stat.identity:
            found.append(stat)
    return found


def _ourselves(stats: dict[int, Stat]) -> set[int]:
    """init, reld and whoever started reld: never part of a tree, whatever the numbers say."""
    spared = {0, 1}
    pid = os.getpid()
    while pid not in spared:
        spared.add(pid)
        stat = stats.get(pid)
        if stat is None:
            break
        pid = stat.parent
    return spared
