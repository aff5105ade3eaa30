"""How far a poll has come is written down while somebody waits, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from spool.layout import Stage
from spool.opening import Spool, take_stage
from spool.poll_progress import Progress, read_progress
from stages.fetch.progress import Count, Teller
from stages.runner import Mode, Runtime
from tests.support.fetching import until
from tests.support.settings import default_settings
from tests.support.spools import START, make_spool


def with_teller(directory: Path, act: Callable[[Teller, Spool], Awaitable[None]]) -> None:
    async def run() -> None:
        spool = make_spool(directory)
        with take_stage(spool, Stage.FETCH) as tenure:
            runtime = Runtime(default_settings(directory), spool, tenure=tenure, mode=Mode.ONCE)
            runtime.listen()
            teller = Teller(runtime)
            telling = asyncio.ensure_future(teller.run())
            try:
                await act(teller, spool)
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
                runtime.close()
        spool.close()

    asyncio.run(run())


def test_a_poll_that_is_waited_for_is_told_of_until_it_is_over(tmp_path: Path) -> None:
    async def act(teller: Teller, spool: Spool) -> None:
        def told() -> Progress | None:
            return read_progress(spool, ["sales"], since=START).get("sales")

        count = Count()
        teller.watch("sales", count)
        await until(lambda: told() == Progress())
        count.expect(3, octets=300)
        count.messages, count.octets = 1, 120
        await until(lambda: told() == Progress(messages=1, of_messages=3, octets=120, of_octets=300))
        await teller.leave("sales")
        assert told() is None

    with_teller(tmp_path, act)


def test_leaving_what_nobody_waits_for_writes_nothing(tmp_path: Path) -> None:
    async def act(teller: Teller, spool: Spool) -> None:
        before = spool.layout.index.with_name("index.sqlite3-wal").stat().st_size
        await teller.leave("sales")
        assert spool.layout.index.with_name("index.sqlite3-wal").stat().st_size == before

    with_teller(tmp_path, act)


def test_the_next_session_of_a_poll_counts_on() -> None:
    count = Count()
    count.expect(1200, octets=12_000)
    count.messages, count.octets = 500, 5_000
    count.expect(700, octets=7_100)
    assert count.so_far == Progress(messages=500, of_messages=1200, octets=5_000, of_octets=12_100)
