"""A submit process whose configuration changes while it works.

The clock stands still: nothing that only time brings about can be what a test waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Self

import pytest

from pipeline.demo.smtp_sink import Part, SmtpSink
from spool.doorbell import ring
from spool.layout import Stage
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.states import State
from stages.runner import Runtime
from tests.support.settings import account
from tests.support.spools import START, arrival, letters, make_ready, make_spool, message
from tests.support.submit_stage import event_names, refusing, relay_settings, submitting, to_sink

CLOSED_PORT = 1


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = make_spool(tmp_path)
    yield opened
    opened.close()


class StallingRelay:
    """A relay that answers the final dot when it is told to, or never says its greeting."""

    def __init__(self, *, greets: bool = True) -> None:
        self.may_answer = asyncio.Event()
        self.taken = 0
        self.waiting = 0
        self.sessions = 0
        self._greets = greets
        self._server: asyncio.Server

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._converse, "127.0.0.1")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        try:
            if self._greets:
                await self._speak(reader, writer)
            else:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := await reader.readline():
            if line.upper().startswith(b"DATA"):
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                self.taken += 1
                self.waiting += 1
                await self.may_answer.wait()
                self.waiting -= 1
            writer.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 ok\r\n")
            if line.upper().startswith(b"QUIT"):
                return


def point_at(runtime: Runtime, port: int, **more: object) -> None:
    """Let the relay be at another port of this host."""
    smtp = replace(runtime.settings.smtp, port=port, **more)  # type: ignore[arg-type]  # names are the tests'
    runtime.renew(replace(runtime.settings, smtp=smtp))


def is_submitted(spool: Spool, *ids: QueueId) -> bool:
    return {message(spool, queue_id).state for queue_id in ids} == {State.SUBMITTED}


def test_what_comes_next_goes_to_the_new_relay(spool: Spool) -> None:
    async def run() -> None:
        async with SmtpSink() as old, SmtpSink() as new:
            async with submitting(spool, relay_settings(spool.layout.root, old.port)) as running:
                first = make_ready(spool, arrival(b"Subject: 1\r\n\r\n", uidl="1"))
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: is_submitted(spool, *first))
                point_at(running.runtime, new.port)
                second = make_ready(spool, arrival(b"Subject: 2\r\n\r\n", uidl="2"))
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: is_submitted(spool, *second))
            assert (len(old.accepted), len(new.accepted)) == (1, 1)

    asyncio.run(run())
    assert "RouteClosed" not in event_names(spool)


def test_a_corrected_relay_is_tried_at_once(spool: Spool) -> None:
    """Its circuit was paused: the next probe is seconds to minutes away, by a clock that does not move here."""
    ids = make_ready(spool, arrival())

    async def run() -> None:
        async with SmtpSink() as sink, submitting(spool, relay_settings(spool.layout.root, CLOSED_PORT)) as running:
            await running.until(lambda: "RouteClosed" in event_names(spool))
            point_at(running.runtime, sink.port)
            await running.until(lambda: is_submitted(spool, *ids))

    asyncio.run(run())
    assert event_names(spool).count("RouteOpened") == 1


def test_a_relay_that_is_wrong_now_pauses_the_route_and_the_right_one_opens_it(spool: Spool) -> None:
    async def run() -> None:
        async with SmtpSink() as sink, submitting(spool, relay_settings(spool.layout.root, sink.port)) as running:
            await running.until(lambda: bool(sink.connections))
            point_at(running.runtime, CLOSED_PORT)
            await running.until(lambda: "RouteClosed" in event_names(spool))
            ids = make_ready(spool, arrival())
            ring(spool, Stage.SUBMIT)
            point_at(running.runtime, sink.port)
            await running.until(lambda: is_submitted(spool, *ids))

    asyncio.run(run())


def test_a_relay_that_never_greets_is_not_waited_for(spool: Spool) -> None:
    """Its time is up in an hour."""
    ids = make_ready(spool, arrival())

    async def run() -> None:
        async with StallingRelay(greets=False) as silent, SmtpSink() as sink:
            settings = relay_settings(spool.layout.root, silent.port, timeout=timedelta(hours=1))
            async with submitting(spool, settings) as running:
                await running.until(lambda: silent.sessions == 1)
                point_at(running.runtime, sink.port)
                await running.until(lambda: is_submitted(spool, *ids))

    asyncio.run(run())
    assert "RouteClosed" not in event_names(spool)


def test_a_message_in_hand_is_answered_by_the_old_relay_while_others_go_to_the_new_one(spool: Spool) -> None:
    """Cut before the reply to its final dot it would be sent twice."""

    async def run() -> None:
        async with StallingRelay() as old, SmtpSink() as new:
            settings = relay_settings(spool.layout.root, old.port, timeout=timedelta(hours=1))
            async with submitting(spool, settings) as running:
                in_hand = make_ready(spool, arrival(b"Subject: 1\r\n\r\n", uidl="1"))
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: old.taken == 1)
                point_at(running.runtime, new.port)
                others = make_ready(spool, *letters(20))
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: is_submitted(spool, *others))
                assert not is_submitted(spool, *in_hand)
                old.may_answer.set()
                await running.until(lambda: is_submitted(spool, *in_hand))
            assert (old.taken, len(new.accepted)) == (1, 20)

    asyncio.run(run())
    assert not {"PossibleDuplicate", "RouteClosed"} & set(event_names(spool))


def test_the_former_relays_trouble_is_not_the_new_ones(spool: Spool) -> None:
    async def run() -> None:
        async with StallingRelay() as old, SmtpSink() as new:
            settings = relay_settings(spool.layout.root, old.port, timeout=timedelta(seconds=1))
            async with submitting(spool, settings) as running:
                ids = make_ready(spool, arrival())
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: old.taken == 1)
                point_at(running.runtime, new.port)
                # It never answers: what was in hand is sent again, to the relay of now.
                await running.until(lambda: is_submitted(spool, *ids))

    asyncio.run(run())
    assert "RouteClosed" not in event_names(spool)


def test_other_credentials_are_used_for_the_next_session_and_the_message_in_hand_is_finished(spool: Spool) -> None:
    async def run() -> None:
        async with StallingRelay() as relay:
            settings = relay_settings(spool.layout.root, relay.port, timeout=timedelta(hours=1))
            async with submitting(spool, settings) as running:
                ids = make_ready(spool, *letters(2))
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: relay.taken == 1)
                point_at(running.runtime, relay.port, timeout=timedelta(minutes=30))
                relay.may_answer.set()
                await running.until(lambda: is_submitted(spool, *ids))
            # The first asked for SIZE, one had the first message, and another one the second.
            assert relay.sessions >= 3
            assert relay.taken == 2

    asyncio.run(run())
    assert not {"PossibleDuplicate", "RouteClosed"} & set(event_names(spool))


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
def test_as_many_connections_are_used_as_are_allowed_now(spool: Spool, before: int, after: int) -> None:
    async def run() -> None:
        async with StallingRelay() as relay:
            settings = relay_settings(spool.layout.root, relay.port, connections=before, timeout=timedelta(hours=1))
            async with submitting(spool, settings) as running:
                first = make_ready(spool, *letters(before))
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: relay.taken == before)
                point_at(running.runtime, relay.port, connections=after)
                relay.may_answer.set()
                await running.until(lambda: is_submitted(spool, *first))
                relay.may_answer.clear()
                more = make_ready(spool, *(arrival(b"Subject: %d\r\n\r\n" % n, uidl=f"more{n}") for n in range(6)))
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: relay.waiting == after)
                most = after
                for _ in range(50):  # looks, in which others could come
                    await running.until(lambda: True)
                    most = max(most, relay.waiting)
                assert most == after
                relay.may_answer.set()
                await running.until(lambda: is_submitted(spool, *more))

    asyncio.run(run())


def test_other_retry_times_count_from_the_next_postponement(spool: Spool) -> None:
    async def run() -> None:
        rules = refusing(Part.CONTENT, "451 later")
        async with to_sink(spool, rules) as (running, _):
            first = make_ready(spool, arrival(b"Subject: 1\r\n\r\n", uidl="1"))
            ring(spool, Stage.SUBMIT)
            await running.until(lambda: message(spool, *first).state is State.DEFERRED)
            day = timedelta(days=1)
            submit = replace(running.runtime.settings.submit, retry_initial=day, retry_max=day)
            running.runtime.renew(replace(running.runtime.settings, submit=submit))
            second = make_ready(spool, arrival(b"Subject: 2\r\n\r\n", uidl="2"))
            ring(spool, Stage.SUBMIT)
            await running.until(lambda: message(spool, *second).state is State.DEFERRED)
            assert message(spool, *second).next_attempt_at == START + day

    asyncio.run(run())


def test_mail_of_an_account_that_was_added_names_its_recipients_and_of_one_that_was_removed_too(spool: Spool) -> None:
    """The trace field is the same at each attempt, whatever becomes of the account meanwhile."""

    async def run() -> None:
        async with SmtpSink() as sink:
            async with submitting(spool, relay_settings(spool.layout.root, sink.port)) as running:
                await running.until(lambda: bool(sink.connections))
                settings = running.runtime.settings
                running.runtime.renew(replace(settings, accounts=(account("info"),)))
                of_added = replace(arrival(b"Subject: 1\r\n\r\n", uidl="1").origin, account="info")
                added = replace(arrival(b"Subject: 1\r\n\r\n", uidl="1"), origin=of_added)
                ids = [
                    *make_ready(spool, added, recipients=["info@corp.example"]),
                    *make_ready(spool, arrival(b"Subject: 2\r\n\r\n", uidl="2")),
                ]
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: is_submitted(spool, *ids))
            told = sorted(b" ".join(one.content.split(b"Subject")[0].split()).decode() for one in sink.accepted)
            assert "for <info@corp.example>" in told[0] + told[1]
            assert "for <sales@corp.example>" in told[0] + told[1]

    asyncio.run(run())


def test_who_is_to_be_notified_from_now_on_is(spool: Spool) -> None:
    async def run() -> None:
        async with SmtpSink(refusing(Part.CONTENT, "550 no", marker=b"spam")) as sink:
            async with submitting(spool, relay_settings(spool.layout.root, sink.port)) as running:
                ids = make_ready(spool, arrival(b"Subject: 1\r\n\r\nspam\r\n"))
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: message(spool, *ids).state is State.BADMAIL)
                submit = replace(running.runtime.settings.submit, notify="postmaster@corp.example")
                running.runtime.renew(replace(running.runtime.settings, submit=submit))
                await running.until(lambda: "SummarySubmitted" in event_names(spool))
            assert sink.accepted[-1].recipients == ("postmaster@corp.example",)

    asyncio.run(run())
