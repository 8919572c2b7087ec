"""Where instances answer: "127.0.0.1:PORT", or "unix:PLACE/sockets/PORT/app.sock".

A port is leased for both. It is fresh for each start of a slot, and no two processes of the machine
have the same one: so a socket's path is as fresh as a port, and one number tells instances apart.
"""

from __future__ import annotations

SOCKETS = "sockets"
SOCKET = "app.sock"
_UNIX = "unix:"


def of_port(port: int) -> str:
    return f"127.0.0.1:{port}"


def of_socket(place: str, port: int) -> str:
    """`place`: the runtime directory."""
    return f"{_UNIX}{place}/{SOCKETS}/{port}/{SOCKET}"


def socket_path(address: str) -> str:
    """Empty for what is no Unix socket."""
    return address.removeprefix(_UNIX) if address.startswith(_UNIX) else ""


def leased(address: str) -> str:
    """The leased port's number, also of a socket; of an address that is not ours whatever is there."""
    if not address.startswith(_UNIX):
        return address.rpartition(":")[2]
    return address.removesuffix(f"/{SOCKET}").rpartition("/")[2]
