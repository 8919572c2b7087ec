"""`--on-disconnect abort`: without this client its rollout goes back.

reld holds on to the connection, so it notices whatever ends us: a signal, SIGKILL, a dead network that
sshd found out about. Only who leaves in peace says so first.
"""

from __future__ import annotations

import os
from contextlib import suppress

from relctl.errors import CtlError
from relctl.http import Client


class Bond:
    """One for the whole command: a connection that broke is taken up again under the same name."""

    def __init__(self) -> None:
        self.name = os.urandom(16).hex()

    def loosen(self, client: Client, rollout: int) -> None:
        """From now on it goes on without us. A reld that cannot be reached has forgotten us anyway."""
        with suppress(CtlError):
            client.post(f"/v1/rollouts/{rollout}/detach", {"lease": self.name})
