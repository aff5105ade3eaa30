"""The page about the verbose log: its excerpts are what our drivers write when a server says what stands there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from spool.layout import Stage
from spool.service_log import FILES, MAX_OCTETS
from spool.verbosity import EVERYBODY, Verbosity
from stages.dialogue import LONGEST_LINE
from stages.pop3.client import Pop3Client, Pop3Endpoint
from stages.pop3.retrieval import Retrieval
from stages.sasl.credentials import Credentials
from stages.secret import Secret
from stages.settings import AuthMethod, TlsMode
from stages.smtp.client import SmtpClient
from stages.smtp.commands import Envelope
from stages.smtp.opening import SmtpEndpoint
from stages.smtp.transaction import Submission
from stages.stream import TlsSettings
from stages.verbose_log import VerboseLog
from tests.docs.markdown import DOCS, blocks
from tests.support.scripted_server import ScriptedServer, parse
from tests.support.spools import make_spool

PAGE = (DOCS / "how-to/read-the-verbose-log.md").read_text()
POLL, SUBMISSION = blocks(PAGE, "text")
PATIENCE = 5.0
_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?P<process>\w+)\[\d+\] (?P<whom>\S+) #(?P<number>\d+) "
    r"(?P<said>[<>*] \S.*)"
)
_CONTENT = re.compile(r"<\.\.\. (\d+) octets>")
# What a mask stands for here.
_SECRETS = {"PASS ***": "PASS secret", "AUTH PLAIN ***": "AUTH PLAIN AHNhbGVzAHNlY3JldA=="}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    process: str
    whom: str
    number: str
    said: str


def lines(text: str) -> list[Line]:
    found = [_LINE.fullmatch(line) for line in text.splitlines()]
    assert all(found)
    return [Line(**one.groupdict()) for one in found if one]


def script(excerpt: str, *, content: str) -> str:
    """A script of what the server says there, and of what it must hear; `content` is one line of a message."""
    return "".join(f"{line}\n" for one in lines(excerpt) for line in _steps(one.said, content=content))


def _steps(said: str, *, content: str) -> Iterator[str]:
    side, text = said[0], said[2:]
    if side == "*":
        return
    step = {"<": "S", ">": "C"}[side]
    if _CONTENT.fullmatch(text):
        yield f"{step}: {content}"
        if side == ">":
            yield "C: ."
    else:
        yield f"{step}: {_SECRETS.get(text, text)}"


def content(excerpt: str, *, with_dot: bool) -> str:
    """A line that has, with its end, as many octets as the content of the excerpt."""
    (octets,) = _CONTENT.findall(excerpt)
    return "x" * (int(octets) - len("\r\n") - (len(".\r\n") if with_dot else 0))


def dialogue(text: str) -> list[str]:
    """Both sides, without what happened to the connection: here it has no TLS."""
    return [one.said for one in lines(text) if not one.said.startswith("*")]


def log_of(tmp_path: Path) -> tuple[VerboseLog, Path]:
    spool = make_spool(tmp_path)
    log = VerboseLog(spool, Stage.FETCH)
    log.heed(Verbosity(wishes={EVERYBODY: True}))
    return log, spool.layout.service_log


def test_the_poll_is_what_the_log_has_of_such_a_server(tmp_path: Path) -> None:
    log, file = log_of(tmp_path)

    async def talk() -> None:
        text = script(POLL, content=content(POLL, with_dot=False))
        async with ScriptedServer(parse(text)).listening() as server:
            endpoint = Pop3Endpoint(host="127.0.0.1", port=server.port, tls=TlsMode.NONE)
            client = await Pop3Client.open(endpoint, timeout=PATIENCE, dialogue=log.account("sales-isp"))
            await client.login(Credentials(username="sales", password=Secret("secret"), method=AuthMethod.BASIC))
            await client.stat()
            sizes = await client.list()
            await client.uidl()
            async for _ in client.retrieve([Retrieval(number=number, octets=sizes[number]) for number in sizes]):
                pass
            await client.delete([1])
            await client.quit()
            await client.close()

    asyncio.run(talk())
    log.close()
    assert dialogue(file.read_text()) == dialogue(POLL)


def test_the_submission_is_what_the_log_has_of_such_a_relay(tmp_path: Path) -> None:
    log, file = log_of(tmp_path)
    line = content(SUBMISSION, with_dot=True)

    async def talk() -> None:
        async with ScriptedServer(parse(script(SUBMISSION, content=line))).listening() as server:
            endpoint = SmtpEndpoint(
                host="127.0.0.1",
                port=server.port,
                tls=TlsMode.NONE,
                trust=TlsSettings(server_name="127.0.0.1"),
                helo_name="gw.corp.example",
                credentials=Credentials(username="sales", password=Secret("secret"), method=AuthMethod.PLAIN),
                may_log_in_without_tls=True,
            )
            client = await SmtpClient.open(endpoint, timeout=PATIENCE, final_dot_timeout=PATIENCE, dialogue=log.relay())
            message = f"{line}\r\n".encode()
            envelope = Envelope(
                reverse_path="alice@example.org", recipients=("sales@corp.example",), octets=len(message)
            )
            await client.submit(Submission(envelope=envelope, content=message, before_dot=lambda: None))
            await client.quit()

    asyncio.run(talk())
    log.close()
    assert dialogue(file.read_text()) == dialogue(SUBMISSION)


@pytest.mark.parametrize(
    ("excerpt", "process", "whom"), [(POLL, "fetch", "sales-isp"), (SUBMISSION, "submit", "relay")]
)
def test_an_excerpt_is_of_one_connection_from_its_beginning_to_its_end(excerpt: str, process: str, whom: str) -> None:
    told = lines(excerpt)
    assert {(one.process, one.whom) for one in told} == {(process, whom)}
    assert len({one.number for one in told}) == 1
    assert re.fullmatch(r"\* connecting to \S+ port \d+", told[0].said)
    assert re.fullmatch(r"\* connected to [\d.]+", told[1].said)
    assert told[-1].said == "* closed"
    notes = [one.said for one in told[2:-1] if one.said.startswith("*")]
    assert all(re.fullmatch(r"\* TLSv1\.\d, \w+, certificate sha256:[0-9a-f]{64}", note) for note in notes)


def test_the_page_has_the_limits_of_the_log() -> None:
    assert f"At {MAX_OCTETS // 1024**2} MiB" in PAGE
    assert FILES == 5
    assert "five files" in PAGE
    assert f"Lines end at {LONGEST_LINE} characters" in PAGE
