"""Threads for what people only look at: however much is asked, commands and saves have others.

`asyncio.to_thread` has a handful for everything: some large logs at a time would make a rollback wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="reading")


async def reading(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What `call` gives, from a thread that may be busy."""
    work = partial(call, *args, **kwargs)
    try:
        done = asyncio.get_running_loop().run_in_executor(_THREADS, work)
    except RuntimeError:  # no leave for another thread: those of the loop are there already
        return await asyncio.to_thread(work)
    return await done
