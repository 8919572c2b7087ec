"""A wire between a box and its clients: two network namespaces of their own, the host's is not touched."""

from __future__ import annotations

import subprocess

INSIDE = "10.77.0.2"
OUTSIDE = "10.77.0.1"
# No name that a networkd of the box would take for its own.
_WIRE = "lan0"


class Network:
    """`inside` is the box's namespace, `outside` where its clients are; both by name, for `ip netns`."""

    def __init__(self, name: str) -> None:
        self.inside = f"{name}-in"
        self.outside = f"{name}-out"

    def make(self) -> None:
        """Anew at each boot, as a machine's: no connection of the last boot lingers."""
        self.remove()
        _ip(f"netns add {self.inside}", f"netns add {self.outside}")
        _ip(
            f"link add {_WIRE} type veth peer name {_WIRE} netns {self.inside}",
            f"addr add {OUTSIDE}/24 dev {_WIRE}",
            "link set lo up",
            f"link set {_WIRE} up",
            of=self.outside,
        )
        _ip(
            f"addr add {INSIDE}/24 dev {_WIRE}",
            "link set lo up",
            f"link set {_WIRE} up",
            of=self.inside,
        )

    def cut(self) -> None:
        """What is under way is lost without a word, as when a laptop is closed."""
        _ip(f"link set {_WIRE} down", of=self.outside)

    def mend(self) -> None:
        _ip(f"link set {_WIRE} up", of=self.outside)

    def remove(self) -> None:
        for name in (self.outside, self.inside):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*lines: str, of: str = "") -> None:
    subprocess.run(
        ["ip", *(["-n", of] if of else []), "-batch", "-"],
        input="\n".join(lines), text=True, check=True,
    )  # fmt: skip
