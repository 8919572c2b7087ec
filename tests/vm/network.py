"""A wire between a box and its clients: two network namespaces of their own, the host's is not touched."""

from __future__ import annotations

import subprocess

INSIDE = "10.77.0.2"
OUTSIDE = "10.77.0.1"
# No name that a networkd of the box would take for its own.
WIRE = "lan0"


class Network:
    """`inside` is the box's namespace, `outside` where its clients are; both by name, for `ip netns`."""

    address = INSIDE

    def __init__(self, name: str) -> None:
        self.inside = f"{name}-in"
        self.outside = f"{name}-out"

    def make(self) -> None:
        """Anew at each boot, as a machine's: no connection of the last boot lingers."""
        self.remove()
        ip(f"netns add {self.inside}", f"netns add {self.outside}")
        ip(
            f"link add {WIRE} type veth peer name {WIRE} netns {self.inside}",
            f"addr add {OUTSIDE}/24 dev {WIRE}",
            "link set lo up",
            f"link set {WIRE} up",
            of=self.outside,
        )
        ip(
            f"addr add {INSIDE}/24 dev {WIRE}",
            "link set lo up",
            f"link set {WIRE} up",
            of=self.inside,
        )

    def cut(self) -> None:
        """What is under way is lost without a word, as when a laptop is closed."""
        ip(f"link set {WIRE} down", of=self.outside)

    def mend(self) -> None:
        ip(f"link set {WIRE} up", of=self.outside)

    def remove(self) -> None:
        for name in (self.outside, self.inside):
            remove_namespace(name)


def remove_namespace(name: str) -> None:
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def ip(*lines: str, of: str = "") -> None:
    subprocess.run(
        ["ip", *(["-n", of] if of else []), "-batch", "-"],
        input="\n".join(lines), text=True, check=True,
    )  # fmt: skip
