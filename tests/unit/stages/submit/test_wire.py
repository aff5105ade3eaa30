"""From the spool to the wire: whatever a message has in it, and however large it is, it ends once and at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spool.opening import Spool
from spool.segments import LARGE_OCTETS, READ_OCTETS
from spool.states import State
from stages.settings import RelayProtocol
from tests.support.connector import without_our_received
from tests.support.smuggling import FORGED, SEQUENCES
from tests.support.spools import arrival, make_large_ready, make_ready, make_spool
from tests.support.submit_stage import messages, relay_settings, submit_once
from tests.support.wire import RecordingRelay, mended

HEADER = b"From: alice@example.org\r\nSubject: x\r\n\r\n"
LINE = b"All work and no play makes Jack a dull boy.\r\n"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = make_spool(tmp_path)
    yield opened
    opened.close()


def sent(spool: Spool, protocol: RelayProtocol) -> list[bytes]:
    """Submit what is ready; return the messages that were on the wire, without our trace field."""
    relay = RecordingRelay(is_lmtp=protocol is RelayProtocol.LMTP)

    async def run() -> None:
        async with relay.listening() as port:
            settings = relay_settings(spool.layout.root, port)
            await submit_once(spool, replace(settings, smtp=replace(settings.smtp, protocol=protocol)))

    asyncio.run(run())
    contents = [one.content for session in relay.sessions() for one in session.sent]
    return [without_our_received(content or b"") for content in contents]


def large(sequence: bytes, *, cut: int) -> bytes:
    """A message over 1 MiB with this sequence in it, of which the first `cut` octets end a piece as the spool reads."""
    before = 2 * READ_OCTETS - len(HEADER) - cut
    filler = (LINE * (before // len(LINE) + 1))[:before]
    return HEADER + filler + sequence + FORGED + LINE * (LARGE_OCTETS // len(LINE))


@pytest.mark.parametrize("protocol", RelayProtocol)
def test_small_messages_are_sent_whole_and_end_once(spool: Spool, protocol: RelayProtocol) -> None:
    contents = [HEADER + b"before" + sequence + FORGED + sequence for sequence in SEQUENCES]
    ids = make_ready(spool, *[arrival(content, uidl=f"u{number}") for number, content in enumerate(contents)])
    assert sent(spool, protocol) == [mended(content) for content in contents]
    assert {row.state for row in messages(spool, ids)} == {State.SUBMITTED}


@pytest.mark.parametrize("protocol", RelayProtocol)
def test_large_messages_are_streamed_and_end_once_wherever_they_are_cut(spool: Spool, protocol: RelayProtocol) -> None:
    """A piece may end in the middle of a sequence: behind its CR, before its dot."""
    contents = [large(one, cut=number % (len(one) + 1)) for number, one in enumerate(SEQUENCES)]
    ids = make_large_ready(spool, *contents)
    assert sent(spool, protocol) == [mended(content) for content in contents]
    assert {row.state for row in messages(spool, ids)} == {State.SUBMITTED}
