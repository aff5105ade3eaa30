"""What strangers write reaches the wire in its place or not at all.

200 strings with line ends, NUL, brackets, blanks, parameters and what some software takes for one of these, through
everything of theirs that can become an envelope, an EHLO or a trace field. A relay records the octets, and
`tests.support.wire.read` takes the session apart: what is no command of ours in our form, or content, fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest

from spool.admission import Admission
from spool.envelope import Arrival, Uidl
from spool.layout import Stage
from spool.opening import Spool, take_stage
from spool.queue_id import new_queue_id
from spool.rows import Message
from spool.states import State
from stages.mail.received import Hop, trace_field
from stages.runner import Mode, run_stage
from stages.settings import TlsMode
from stages.smtp.client import SmtpClient
from stages.smtp.commands import Envelope
from stages.smtp.opening import SmtpEndpoint
from stages.smtp.transaction import Submission
from stages.stream import TlsSettings
from stages.submit.relay import name_for_helo
from stages.validate.stage import ValidateStage
from tests.support.connector import without_our_received
from tests.support.dropping import drop, spool_at, work
from tests.support.spools import START, arrival, make_spool, message, queue_ids
from tests.support.submit_stage import relay_settings, submit_once
from tests.support.wire import RecordingRelay, Sent, mended

BREAKS = (
    *("\r\n", "\r", "\n", "\r\r\n", "\n\r", "\r\n ", ">\r\n", "\0", ">", "> ", "<", " ", "\t", "\\"),
    *("\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\xa0", "\u2028", "\u2029", "\u202e", "\ufeff", "\ufffd"),
)
FORMS = (
    "a@example.org{0}RCPT TO:<victim@example.net>",
    "a@example.org>{0}RCPT TO:<victim@example.net",
    "a@example.org{0}.{0}MAIL FROM:<victim@example.net>{0}DATA{0}",
    "a@example.org{0}SIZE=1 BODY=8BITMIME SMTPUTF8",
    "a{0}b@example.org",
    '"a{0}b"@example.org',
    "a@exam{0}ple.org",
    "{0}a@example.org{0}",
)
STRINGS = [form.format(one) for form, one in product(FORMS, BREAKS)]
FIELDS = ("Return-Path: <{}>", "Return-Path: {}", "Sender: <{}>", "From: Ann <{}>", "From: {}")


def test_there_are_200_strings() -> None:
    assert len(set(STRINGS)) == len(STRINGS) == 200


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = make_spool(tmp_path)
    yield opened
    opened.close()


def sent(spool: Spool) -> list[Sent]:
    """Validate and submit all that is there; return what was on the wire."""
    relay = RecordingRelay()

    async def run() -> None:
        async with relay.listening() as port:
            settings = relay_settings(spool.layout.root, port)
            await submit_once(spool, settings)

    validating = relay_settings(spool.layout.root, 1)
    assert run_stage(Stage.VALIDATE, ValidateStage(), settings=validating, mode=Mode.ONCE).is_complete
    asyncio.run(run())
    return [one for session in relay.sessions() for one in session.sent]


def from_provider(string: str, number: int, content: bytes) -> Arrival:
    """A message whose server, address and UIDL say the same as its header does."""
    one = arrival(content)
    origin = replace(one.origin, peer=f"{string} [{string}]", uidl=Uidl(b"%d%s" % (number, string.encode())))
    return replace(one, origin=origin)


def is_submitted(row: Message) -> bool:
    return row.state is State.SUBMITTED


@pytest.mark.parametrize("field", FIELDS)
def test_nothing_that_a_header_says_leaves_its_place(spool: Spool, field: str) -> None:
    """It becomes an address between its brackets, or Badmail."""
    contents = [field.format(one).encode() + b"\r\nSubject: %d\r\n\r\nbody\r\n" % n for n, one in enumerate(STRINGS)]
    arrivals = [from_provider(STRINGS[number], number, content) for number, content in enumerate(contents)]
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        receipts = admission.admit(arrivals)
        admission.close()
    on_the_wire = sent(spool)
    rows = [message(spool, receipt.queue_id) for receipt in receipts]
    assert {row.state for row in rows} == {State.SUBMITTED, State.BADMAIL}
    accepted = [(row.sender, mended(one)) for row, one in zip(rows, contents, strict=True) if is_submitted(row)]
    assert [(one.reverse_path, without_our_received(one.content or b"")) for one in on_the_wire] == accepted
    assert {one.recipients for one in on_the_wire} == {("sales@corp.example",)}


@pytest.mark.parametrize(
    "block", ["X-Sender: <{}>\r\nX-Receiver: <sales@corp.example>", "X-Sender: <a@example.org>\r\nX-Receiver: <{}>"]
)
def test_nothing_that_a_pickup_file_says_leaves_its_place(tmp_path: Path, block: str) -> None:
    """An operator drops it, and perhaps the first lines of it were written by a sender."""
    spool = spool_at(tmp_path, ahead=timedelta(minutes=1))
    for number, string in enumerate(STRINGS):
        top = block.format(string.replace("example.org", "corp.example"))
        drop(spool, top.encode() + b"\r\n\r\nFrom: a@example.org\r\n\r\n%d\r\n" % number, name=f"{number}.eml")
    work(spool)
    on_the_wire = sent(spool)
    states = [message(spool, queue_id).state for queue_id in queue_ids(spool)]
    assert len(states) == len(STRINGS)
    assert set(states) == {State.SUBMITTED, State.BADMAIL}
    assert states.count(State.SUBMITTED) == len(on_the_wire)
    for one in on_the_wire:
        assert all(recipient.endswith("@corp.example") for recipient in one.recipients)
        assert "victim" not in "".join(one.recipients)
        without_our_received(one.content or b"")
    spool.close()


@pytest.mark.parametrize("string", STRINGS, ids=ascii)
def test_nothing_leaves_its_place_in_ehlo_or_trace_field(string: str) -> None:
    """Host, address, UIDL and recipients as an account has them; our own name as the system has it."""
    relay = RecordingRelay()
    hop = Hop(peer_host=string, gateway=string, recipients=(string,))
    trace = trace_field(hop, peer_address=string, queue_id=new_queue_id(), fetched_at=START)
    envelope = Envelope(reverse_path="", recipients=("sales@corp.example",), octets=1)
    submission = Submission(envelope=envelope, content=trace + b"\r\nbody\r\n", before_dot=lambda: None)

    async def run() -> None:
        async with relay.listening() as port:
            endpoint = SmtpEndpoint(
                host="127.0.0.1",
                port=port,
                tls=TlsMode.NONE,
                trust=TlsSettings(server_name="127.0.0.1"),
                helo_name=name_for_helo(string),
            )
            client = await SmtpClient.open(endpoint, timeout=10, final_dot_timeout=10)
            await client.submit(submission)
            await client.quit()

    asyncio.run(run())
    ((only,),) = (session.sent for session in relay.sessions())
    assert without_our_received(only.content or b"") == b"\r\nbody\r\n"
    assert trace.isascii()
