"""Work that may hang for ever (a dead NFS, a frozen disk), in a thread of its own that nobody waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_hanging: dict[str, threading.Thread] = {}


class HangsError(Exception):
    """It did not end in time, or hangs since an earlier time."""


async def aside(name: str, work: Callable[[], T], patience: float) -> T:
    """What `work` returns, or raises.

    Raises HangsError after `patience` seconds, and at once while an earlier work of that name hangs: a
    pool's threads would all be gone after some tries, and a rollback would wait for one.
    """
    if name in _hanging:
        if _hanging[name].is_alive():
            raise HangsError(name)
        del _hanging[name]
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, trouble: BaseException | None) -> None:
        if done.done():
            return
        if trouble is not None:
            done.set_exception(trouble)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, trouble = None, None
        try:
            result = work()
        except BaseException as error:  # it belongs to who waits
            trouble = error
        try:
            loop.call_soon_threadsafe(tell, result, trouble)
        except RuntimeError:
            return  # the loop is over

    thread = threading.Thread(target=run, name=f"aside-{name}", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no leave for another thread
        raise HangsError(name) from None
    try:
        async with asyncio.timeout(patience):
            return await done
    except TimeoutError:
        raise HangsError(name) from None
    finally:
        if done.cancelled():  # nobody waits any more, for one reason or the other
            _hanging[name] = thread
