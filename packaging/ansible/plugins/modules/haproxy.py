#!/usr/bin/python
"""One server of an HAProxy: looked at, taken out of the traffic, put back in."""

DOCUMENTATION = r"""
module: haproxy
short_description: Take a VM out of an HAProxy and put it back in
version_added: "0.1.0"
description:
  - Talks to HAProxy's admin socket, on the machine where HAProxy runs (C(delegate_to)).
  - A server that is taken out gets no new request, what it is answering is waited for, and its
    health checks go on. It is put back only when its health check passes.
  - The last servers stay in, see I(leave). A server that a person has set to C(maint) is left as it is.
options:
  backend:
    description: The backend's name in haproxy.cfg.
    type: str
    required: true
  server:
    description: The server's name in that backend.
    type: str
    required: true
  state:
    description:
      - C(out) drains it, C(in) puts it back, C(looked) changes nothing.
    type: str
    choices: [looked, out, in]
    default: looked
  leave:
    description:
      - So many percent of the backend's servers keep getting traffic, and always one. A server that
        is needed for that stays in; I(out) is then false, and I(msg) says why.
    type: int
    default: 50
  timeout:
    description:
      - Seconds. C(out) waits so long for the requests that the server has, C(in) for its health check.
    type: float
    default: 60
  socket:
    description: The admin socket (C(stats socket … level admin)), which the login user may write to.
    type: path
    default: /run/haproxy/admin.sock
attributes:
  check_mode:
    description: Says what would be done.
    support: full
  diff_mode:
    description: Shows no difference.
    support: none
author:
  - relctl authors (@relctl)
"""

EXAMPLES = r"""
- name: Take this VM out of the balancer
  relctl.relctl.haproxy:
    backend: web
    server: "{{ inventory_hostname }}"
    state: out
  delegate_to: lb1

- name: Put it back when it answers
  relctl.relctl.haproxy:
    backend: web
    server: "{{ inventory_hostname }}"
    state: in
  delegate_to: lb1
"""

RETURN = r"""
out:
  description: Whether the server is out now, drained as by I(state=out).
  type: bool
  returned: always
admin:
  description: What people and plays want of it now.
  type: str
  returned: success
  sample: ready
check:
  description: How its last health check ended, in HAProxy's words.
  type: str
  returned: success
  sample: L7OK/200
sessions:
  description: The requests that it has.
  type: int
  returned: success
up:
  description: Servers of the backend that get traffic.
  type: int
  returned: success
msg:
  description: What was done, or why not.
  type: str
  returned: always
"""

import csv
import io
import socket
import time
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule

_LOOK = 0.2  # seconds between two looks
_MAINT = 0x01  # of srv_admin_state, as "show servers state" tells it
_DRAINED = 0x08
_LONGEST = 4 << 20  # bytes of an answer


class Cannot(Exception):
    """The module fails, with this sentence."""


@dataclass(frozen=True)
class Server:
    """`status` is what HAProxy makes of it: UP, DRAIN, DOWN, MAINT …"""

    name: str
    admin: str
    status: str
    check: str
    sessions: int

    @property
    def serves(self) -> bool:
        return self.admin == "ready" and self.status.startswith(("UP", "no check"))

    @property
    def well(self) -> bool:
        # In brackets or after a space: a check that is under way, and its last result.
        return self.check.removeprefix("* ").startswith(("L4OK", "L6OK", "L7OK"))


class Balancer:
    """The admin socket. Each command is a connection of its own. Raises Cannot."""

    def __init__(self, path: str, backend: str) -> None:
        self._path = path
        self._backend = backend

    def servers(self) -> dict[str, Server]:
        """Those of the backend, by name."""
        wanted = self._admin_states()
        table = self._ask("show stat").removeprefix("# ")
        found = {}
        for row in csv.DictReader(io.StringIO(table)):
            name = row["svname"]
            if row["pxname"] == self._backend and name in wanted:
                check = row.get("check_status") or ""
                code = row.get("check_code") or ""
                found[name] = Server(
                    name=name,
                    admin=wanted[name],
                    status=row["status"],
                    check=f"{check}/{code}" if code else check,
                    sessions=int(row.get("scur") or 0),
                )
        return found

    def set(self, server: str, state: str) -> None:
        said = self._ask(f"set server {self._backend}/{server} state {state}").strip()
        if said:
            raise Cannot(f"cannot set {self._backend}/{server} to {state}: HAProxy says: {said}")

    def _admin_states(self) -> dict[str, str]:
        lines = self._ask(f"show servers state {self._backend}").splitlines()
        if len(lines) < 2 or not lines[1].startswith("# "):
            said = " ".join(lines).strip()
            raise Cannot(
                f"cannot look at backend {self._backend}: HAProxy says: {said or 'nothing'}; "
                "next: compare relctl_backend with the backends in haproxy.cfg"
            )
        names = lines[1][2:].split()
        states = {}
        for line in lines[2:]:
            row = dict(zip(names, line.split(), strict=False))
            if "srv_name" in row:
                bits = int(row["srv_admin_state"])
                admin = "maint" if bits & _MAINT else "drain" if bits & _DRAINED else "ready"
                states[row["srv_name"]] = admin
        return states

    def _ask(self, command: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX) as asked:
                asked.settimeout(10)
                asked.connect(self._path)
                asked.sendall(command.encode() + b"\n")
                said = bytearray()
                while len(said) < _LONGEST and (more := asked.recv(65536)):
                    said += more
        except OSError as error:
            raise Cannot(
                f"cannot talk to HAProxy at {self._path}: {error.strerror or error}; next: a line "
                f"'stats socket {self._path} mode 660 level admin' in haproxy.cfg, and the login "
                "user in the group haproxy"
            ) from None
        return said.decode(errors="replace")


class Work:
    """What one run of the module does."""

    def __init__(self, module: AnsibleModule) -> None:
        given = module.params
        self._balancer = Balancer(given["socket"], given["backend"])
        self._place = f"{given['backend']}/{given['server']}"
        self._name: str = given["server"]
        self._leave: int = given["leave"]
        self._timeout: float = given["timeout"]
        self._only_look = bool(module.check_mode)

    def look(self) -> dict[str, Any]:
        return self._told(False, self._server().admin)

    def take_out(self) -> dict[str, Any]:
        server = self._server()
        if server.admin != "ready":
            self._until_idle()
            return self._told(False, f"is out already ({server.admin})")
        if server.check in ("", "none"):
            raise Cannot(
                f"cannot take {self._place} out: it has no health check, so nobody could tell when "
                "it may come back; next: 'check' on its line in haproxy.cfg"
            )
        servers = self._balancer.servers()
        others = sum(one.serves for one in servers.values() if one.name != self._name)
        needed = max(1, -(-len(servers) * self._leave // 100))
        if server.serves and others < needed:
            return self._told(
                False,
                f"stays in: only {others} of {len(servers)} would be left, and {needed} must be",
            )
        if not self._only_look:
            self._balancer.set(self._name, "drain")
            left = self._until_idle()
            if left:
                return self._told(True, f"is out; {left} requests of it are still under way")
        return self._told(True, "is out")

    def put_in(self) -> dict[str, Any]:
        server = self._server()
        if server.admin == "maint":
            return self._told(False, "stays as it is: somebody has set it to maint")
        if server.admin == "ready":
            return self._told(False, "is in already")
        if not self._only_look:
            if not self._within(lambda: self._server().well):
                raise Cannot(
                    f"cannot put {self._place} back in: its health check says "
                    f"{self._server().check or 'nothing'} for {self._timeout:g} s; "
                    "next: relctl status on that VM; then run this again"
                )
            self._balancer.set(self._name, "ready")
            if not self._within(lambda: self._server().serves):
                raise Cannot(f"put {self._place} back in, but it is {self._server().status}")
        return self._told(True, "is in")

    def _server(self) -> Server:
        servers = self._balancer.servers()
        if self._name not in servers:
            raise Cannot(
                f"cannot find {self._place}: the backend has {', '.join(sorted(servers)) or 'none'}; "
                "next: relctl_server for that VM, where the inventory's name is not HAProxy's"
            )
        return servers[self._name]

    def _until_idle(self) -> int:
        """The requests that are left in the end."""
        if not self._only_look:
            self._within(lambda: self._server().sessions == 0)
        return self._server().sessions

    def _within(self, look: Any) -> bool:
        end = time.monotonic() + self._timeout
        while not look():
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK)
        return True

    def _told(self, changed: bool, what: str) -> dict[str, Any]:
        servers = self._balancer.servers()
        server = servers[self._name]
        would = changed and self._only_look
        return {
            "changed": changed,
            "out": server.admin == "drain" and not would,
            "admin": server.admin,
            "check": server.check,
            "sessions": server.sessions,
            "up": sum(one.serves for one in servers.values()),
            "msg": f"{self._place} {what}" + (" (only looked)" if would else ""),
        }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "backend": {"type": "str", "required": True},
            "server": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["looked", "out", "in"], "default": "looked"},
            "leave": {"type": "int", "default": 50},
            "timeout": {"type": "float", "default": 60},
            "socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
        },
        supports_check_mode=True,
    )
    work = Work(module)
    ways = {"out": work.take_out, "in": work.put_in, "looked": work.look}
    try:
        result = ways[module.params["state"]]()
    except Cannot as error:
        module.fail_json(msg=str(error), out=False)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
