"""Starting the gate: by systemd, whose unit it is, or, where there is no systemd, by ourselves."""

from __future__ import annotations

import signal
import time

from reld.errors import GateError
from reld.nginx import command, master, owner, places, takeover
from reld.nginx.settings import GateSettings

_UP_WITHIN = 5.0
_POLL = 0.01


def start(settings: GateSettings) -> tuple[master.Worker, ...]:
    """Starts the gate with the config on disk; returns when its sockets are open.

    A master that was killed leaves its workers behind, and they go on serving: its sockets are taken
    over from them, so that nobody is refused meanwhile, and then they are asked to leave. These are
    returned. Raises OSError or GateError, and then nothing runs that was started here.
    """
    places.prepare(settings)
    return _by_systemd(settings, settings.unit) if settings.unit else _directly(settings)


def _by_systemd(settings: GateSettings, unit: str) -> tuple[master.Worker, ...]:
    """Never as our child, which would have our sandbox and our cgroup. The unit takes sockets over by
    itself (`handover`), since systemd may be the first to see that a gate died; then this waits for it.
    """
    mark = command.log_size(settings)
    addresses = (settings.listen, settings.status)
    orphans = takeover.orphans(addresses, owner.of(settings.user))
    # "fail": a person's stop is not cut short; it is started when that is over.
    code, said = command.run(["systemctl", "--job-mode=fail", "start", unit])
    if code != 0:
        master.refuse_foreign(settings)
        why = command.logged(settings, mark) or command.complaints(said)
        raise GateError(
            f"cannot start the gate: {why}",
            hint=f"sudo systemctl status {unit}; sudo journalctl -u {unit}",
        )
    _await_master(settings)
    return tuple(o for o in orphans if master.start_ticks(o.pid) == o.start_ticks)


def _directly(settings: GateSettings) -> tuple[master.Worker, ...]:
    gate = owner.of(settings.user)
    with takeover.take((settings.listen, settings.status), gate) as taken:
        if taken.sockets:
            code, said = takeover.start(command.line(settings), taken.sockets, gate)
        else:
            master.refuse_foreign(settings)
            code, said = command.run(command.line(settings), gate)
        if code != 0:
            master.refuse_foreign(settings)
            raise GateError(
                f"cannot start the gate: {command.complaints(said) or f'nginx ended with {code}'}",
                hint=f"nginx -t -c {settings.config}",
            )
        _await_master(settings)
        return tuple(o for o in taken.orphans if master.send(o.process, signal.SIGQUIT))


def _await_master(settings: GateSettings) -> None:
    """Returns when the master named in the pid file is one of this config, and has workers."""
    limit = time.monotonic() + _UP_WITHIN
    while time.monotonic() < limit:
        found = master.named(settings)
        if found is not None and master.workers(found):
            return
        time.sleep(_POLL)
    raise GateError(
        f"cannot start the gate: no master within {_UP_WITHIN:g} s",
        hint=f"sudo systemctl status {settings.unit}"
        if settings.unit
        else f"nginx -t -c {settings.config}, and see {settings.error_log}",
    )
