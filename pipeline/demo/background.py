"""Run an asynchronous server in a thread, for callers that have no event loop of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

S = TypeVar("S")

_START_OR_STOP_SECONDS = 10.0


@contextmanager
def serving(server: AbstractAsyncContextManager[S]) -> Iterator[S]:
    """Enter `server` in an event loop of its own thread, leave it and end the thread afterwards."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="demo-server", daemon=True)
    thread.start()
    try:
        entered = asyncio.run_coroutine_threadsafe(_enter(server), loop).result(_START_OR_STOP_SECONDS)
        try:
            yield entered
        finally:
            asyncio.run_coroutine_threadsafe(_leave(server), loop).result(_START_OR_STOP_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _enter(server: AbstractAsyncContextManager[S]) -> S:
    return await server.__aenter__()


async def _leave(server: AbstractAsyncContextManager[object]) -> None:
    await server.__aexit__(None, None, None)
