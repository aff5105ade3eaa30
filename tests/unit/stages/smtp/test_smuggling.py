"""No message of a sender's ends before its end: whatever stands in it, the octets on the wire are those of one message.

Each of these sequences ended the message, or began one, on some server or other: "SMTP smuggling" (CVE-2023-51764,
CVE-2023-51765, CVE-2023-51766). The raw octets of the session are looked at, not what a library makes of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from stages.settings import TlsMode
from stages.smtp.client import SmtpClient
from stages.smtp.commands import Envelope
from stages.smtp.opening import SmtpEndpoint
from stages.smtp.transaction import Submission, TransactionResult
from stages.stream import TlsSettings
from tests.support.smuggling import FORGED, SEQUENCES
from tests.support.wire import RecordingRelay, Session, mended

HEADER = b"From: alice@example.org\r\nSubject: x"
PLACES: dict[str, Callable[[bytes], bytes]] = {
    "in the body": lambda one: HEADER + b"\r\n\r\nbefore" + one + FORGED + b"after\r\n",
    "on lines of its own": lambda one: HEADER + b"\r\n\r\nbefore\r\n" + one + b"\r\n" + FORGED,
    "between header and body": lambda one: HEADER + one + FORGED + b"\r\n\r\nbody\r\n",
    "at the very start": lambda one: one + FORGED + HEADER + b"\r\n\r\nbody\r\n",
    "at the very end": lambda one: HEADER + b"\r\n\r\nbefore" + one,
    "at the very end, with a line end": lambda one: HEADER + b"\r\n\r\nbefore" + one + b"\r\n",
    "alone": lambda one: one,
    "twice": lambda one: HEADER + b"\r\n\r\nbefore" + one + FORGED + one,
}


@dataclass(frozen=True, slots=True)
class Way:
    """How a message reaches the relay."""

    is_lmtp: bool
    is_streamed: bool


WAYS = [Way(is_lmtp=lmtp, is_streamed=streamed) for lmtp in (False, True) for streamed in (False, True)]


async def octet_by_octet(message: bytes) -> AsyncIterator[bytes]:
    """Every sequence meets a border of chunks at each of its octets."""
    for start in range(len(message)):
        yield message[start : start + 1]


def submit(way: Way, messages: list[bytes]) -> Session:
    """Send these messages over one session; return what was on the wire."""
    waiting = [
        Submission(
            envelope=Envelope(reverse_path="a@example.org", recipients=("r1@x.example", "r2@x.example"), octets=1),
            content=octet_by_octet(message) if way.is_streamed else message,
            before_dot=lambda: None,
        )
        for message in messages
    ]

    async def note(_: Submission, result: TransactionResult) -> None:
        assert [final.code for final in result.finals if final] == [250, 250]

    async def run() -> RecordingRelay:
        relay = RecordingRelay(is_lmtp=way.is_lmtp)
        async with relay.listening() as port:
            client = await SmtpClient.open(
                SmtpEndpoint(
                    host="127.0.0.1",
                    port=port,
                    tls=TlsMode.NONE,
                    trust=TlsSettings(server_name="127.0.0.1"),
                    helo_name="gw.corp.example",
                    is_lmtp=way.is_lmtp,
                ),
                timeout=20,
                final_dot_timeout=20,
            )
            assert await client.submit_many(lambda: waiting.pop(0) if waiting else None, note) is None
            await client.quit()
        return relay

    (session,) = asyncio.run(run()).sessions()
    return session


def test_there_are_forty_sequences_and_more() -> None:
    assert len(set(SEQUENCES)) == len(SEQUENCES) >= 40


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_whatever_a_message_has_in_it_it_ends_once_and_at_its_end(way: Way, place: str) -> None:
    messages = [PLACES[place](sequence) for sequence in SEQUENCES]
    session = submit(way, messages)
    assert [one.content for one in session.sent] == [mended(message) for message in messages]
    assert {(one.reverse_path, one.recipients) for one in session.sent} == {
        ("a@example.org", ("r1@x.example", "r2@x.example"))
    }


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("message", [b"", b"\r\n", b".", b".\r\n", b"\r\n.\r\n", b"\r", b"\n", b"..", b".\r\n.\r\n"])
def test_the_smallest_messages_end_once_too(way: Way, message: bytes) -> None:
    """An empty one is a final dot and nothing else (RFC 5321 section 4.1.1.4)."""
    (sent,) = submit(way, [message]).sent
    assert sent.content == mended(message)
