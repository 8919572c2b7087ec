"""Descriptors, threads and processes can run out at any time; then reld says so, and goes on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

log = logging.getLogger("reld")

THREADS = 4


def prepare(loop: asyncio.AbstractEventLoop) -> None:
    """The threads that work for the loop are started now: later there may be no leave for more."""
    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="work")
    # The pool starts one whenever nobody of it is idle: so nobody is, until all are there.
    there = threading.Barrier(THREADS)
    with contextlib.suppress(RuntimeError):  # no leave for so many, even now
        for _ in range(THREADS):
            executor.submit(there.wait, 10.0)
    loop.set_default_executor(executor)
    loop.set_exception_handler(_told)


def _told(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the machine lacks is no bug of ours, and says enough in one line."""
    error = context.get("exception")
    lacking = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
    if isinstance(error, OSError) and error.errno in lacking:
        log.error("%s: %s", context.get("message", "cannot go on"), os.strerror(error.errno))
        return
    loop.default_exception_handler(context)
