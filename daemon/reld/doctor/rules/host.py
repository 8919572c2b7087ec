"""The machine: room, memory for two copies, clock, descriptors."""

from __future__ import annotations

from collections.abc import Iterator

from reld.doctor.facts import HostFacts, Room
from reld.doctor.finding import Area, Desk, Finding, size

SAY = Desk(Area.HOST)
NEARLY_FULL, LITTLE = 64 << 20, 512 << 20
"""Bytes: below the first a switch may fail, below the second somebody should look."""
SMALL = 1 << 30
"""A file system below this size (a tmpfs) is judged by what part of it is free."""
FEW_INODES, FEWEST_INODES = 0.05, 0.01
FEW_DESCRIPTORS = 4096
LEAP = 5.0


def findings(facts: HostFacts) -> Iterator[Finding]:
    for room in facts.rooms:
        yield _room(room)
        if room.inodes is not None:
            yield _inodes(room)
    yield from _memory(facts)
    yield from _clock(facts)
    yield from _descriptors(facts)


def _room(room: Room) -> Finding:
    left = f"{size(room.free)} of {size(room.size)} are free for {room.what} ({room.path})"
    mend = f"du -xh --max-depth=2 {room.path} | sort -h | tail; then remove what nobody needs"
    if room.size < SMALL:
        part = room.free / room.size if room.size else 0.0
        nearly, little = part < 0.05, part < 0.2
    else:
        nearly, little = room.free < NEARLY_FULL, room.free < LITTLE
    if nearly:
        return SAY.error(f"only {left}", mend)
    return SAY.warning(f"only {left}", mend) if little else SAY.ok(left)


def _inodes(room: Room) -> Finding:
    part = room.inodes or 0.0
    left = f"{part * 100:.0f} % of the inodes are free for {room.what} ({room.path})"
    mend = f"du -x --inodes --max-depth=2 {room.path} | sort -n | tail"
    if part < FEWEST_INODES:
        return SAY.error(f"only {left}: no file can be made soon", mend)
    return SAY.warning(f"only {left}", mend) if part < FEW_INODES else SAY.ok(left)


def _memory(facts: HostFacts) -> Iterator[Finding]:
    if not facts.live_memory or facts.memory_available is None:
        return
    needed, left = int(facts.live_memory * facts.beside), facts.memory_available
    uses = f"the live copy uses {size(facts.live_memory)}, {size(left)} are available"
    if not needed:
        yield SAY.ok(f"{uses}, and a switch needs no second copy beside it (stop-first)")
    elif needed > left:
        yield SAY.error(
            f"{uses}: a second copy does not fit, and a switch is refused",
            'free memory, or in the config: [rollout] surge = 1, or strategy = "stop-first"',
        )
    elif needed > 0.8 * left:
        yield SAY.warning(
            f"{uses}: a second copy fits, and hardly anything beside it",
            "free memory, or in the config: [rollout] surge = 1",
        )
    else:
        yield SAY.ok(f"{uses}: room for two copies")


def _clock(facts: HostFacts) -> Iterator[Finding]:
    if facts.synced is False:
        yield SAY.warning(
            "nobody keeps the clock in sync: times in receipts, logs and the audit drift",
            "sudo timedatectl set-ntp true",
        )
    elif facts.synced:
        yield SAY.ok("the clock is kept in sync")
    if abs(facts.moved) > LEAP:
        way = "forward" if facts.moved > 0 else "back"
        yield SAY.warning(
            f"the wall clock was moved {way} by {abs(facts.moved):.0f} s since reld started: times"
            " of earlier rollouts are off by as much (no deadline is, they follow another clock)",
            "timedatectl timesync-status",
        )


def _descriptors(facts: HostFacts) -> Iterator[Finding]:
    few = facts.descriptors
    if few is not None and few < FEW_DESCRIPTORS:
        mend = f"systemctl edit {facts.unit}: [Service] LimitNOFILE=65536, then restart it"
        if not facts.unit:
            mend = "ulimit -n 65536 before reld is started"
        yield SAY.warning(
            f"{few} open files are the most here: the gate needs two for each request", mend
        )
    elif few is not None:
        yield SAY.ok(f"{few} files may be open in each process")
    part = facts.machine_files
    if part is not None and part > 0.9:
        yield SAY.error(
            f"{part * 100:.0f} % of the files that this machine may have open are open",
            "cat /proc/sys/fs/file-nr; sudo sysctl fs.file-max=2097152",
        )
