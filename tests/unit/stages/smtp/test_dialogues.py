"""Every dialogue file, spoken through the client with a server that follows it line by line.

The client submits the messages `one`, `two`, `three`, as many as `#messages:` says (default 1), each to as many
recipients as `#recipients:` says. `#outcome:` is what became of each, or why no session came about; `#untried:` is what
was taken and came back; `#usable: no` where the session is over; `#protocol: lmtp` speaks that. `#content: streamed`:
a message is a stream whose second piece, `more`, is there when the relay has said something. `#login:` gives user and
secret, which is a token where `#token: yes` says so; `#auth:` and `#prefer:` how to log in; `#in by:` is the mechanism
that let it in. Every file is spoken with the server's lines whole and octet by octet; those that say `#chunks: whole`
test what lies in one piece with the reply before it, `#chunks: octet by octet` what comes behind it.

`#verdict:` is what the outcome means (`stages.submit.verdict`): for each recipient, then for the session or the route
where that does not go on, then whether the break counts against the message and whether a second copy is possible.
Where no session came about it is always the route that pauses, and no message is there to be judged.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme

from stages.sasl.credentials import Credentials
from stages.sasl.exchange import Mechanism
from stages.secret import Secret
from stages.settings import AuthMethod, TlsMode
from stages.smtp.client import SmtpClient
from stages.smtp.commands import Envelope
from stages.smtp.opening import SmtpEndpoint
from stages.smtp.replies import Reply, RouteFailed
from stages.smtp.transaction import Submission, TransactionResult
from stages.stream import TlsSettings
from stages.submit.verdict import Course, judge
from stages.trust import Trust
from tests.support.scripted_server import Chunking, ScriptedServer, load

DIALOGUES = Path(__file__).parents[3] / "dialogues" / "smtp"
BODIES = [b"one\r\n", b"two\r\n", b"three\r\n"]


def directives(path: Path, name: str) -> list[str]:
    prefix = f"#{name}: "
    return [line.removeprefix(prefix) for line in path.read_text().splitlines() if line.startswith(prefix)]


def directive(path: Path, name: str, default: str) -> str:
    return (directives(path, name) or [default])[0]


def cases() -> list[tuple[Path, Chunking]]:
    return [
        (path, chunking)
        for path in sorted(DIALOGUES.glob("*.txt"))
        for chunking in Chunking
        if directive(path, "chunks", chunking.value) == chunking.value
    ]


def submissions(path: Path, *, has_news: Callable[[], bool]) -> list[Submission]:
    async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
        yield body
        while not has_news():  # noqa: ASYNC110 - the stream has no event for it
            await asyncio.sleep(0)
        yield b"more\r\n"

    is_streamed = directive(path, "content", "whole") == "streamed"
    return [
        Submission(
            envelope=Envelope(
                reverse_path="a@example.org",
                recipients=tuple(f"r{n + 1}@corp.example" for n in range(int(directive(path, "recipients", "1")))),
                octets=int(directive(path, "octets", str(len(body)))),
            ),
            content=in_pieces(body) if is_streamed else body,
            before_dot=lambda: None,
        )
        for body in BODIES[: int(directive(path, "messages", "1"))]
    ]


def shown(reply: Reply) -> str:
    return f"{reply.code} {reply.enhanced or ''}".strip()


def told(result: TransactionResult, *, protocol: str) -> str:
    words = [] if result.objection is None else [str(result.objection)]
    rcpt = ",".join(shown(reply) for reply in result.recipients if reply)
    words += [f"mail={shown(result.mail)}"] if result.mail else []
    words += [f"rcpt={rcpt}"] if rcpt else []
    words += [f"data={shown(result.data)}"] if result.data else []
    finals = [shown(reply) for reply in result.finals if reply]
    # By SMTP there is one reply, whoever it is for.
    finals = finals if protocol == "lmtp" else finals[:1]
    words += [f"final={','.join(finals)}"] if finals else ["dot"] if result.dot_sent else []
    words += [f"broken={result.broken.kind}@{result.broken.phase}"] if result.broken else []
    words += ["after-refusal"] if result.after_refusal else []
    words += ["again"] if result.broken and not result.is_first else []
    return " ".join(words)


def credentials(path: Path) -> Credentials | None:
    user, _, secret = directive(path, "login", "").partition(" ")
    if not user:
        return None
    is_token = bool(directives(path, "token"))
    return Credentials(
        username=user,
        method=AuthMethod(directive(path, "auth", "auto")),
        password=None if is_token else Secret(secret),
        token=Secret(secret) if is_token else None,
    )


def meant(result: TransactionResult) -> str:
    verdict = judge(result)
    words = [",".join(type(outcome).__name__.lower() for outcome in verdict.outcomes)]
    words += [] if verdict.course is Course.GO_ON else [verdict.course.name.lower().replace("_", " ")]
    words += ["break"] if verdict.is_break else []
    words += ["possible duplicate"] if verdict.is_ambiguous else []
    return "; ".join(words)


async def converse(path: Path, relay: SmtpEndpoint) -> dict[str, list[str]]:
    outcomes: list[str] = []
    verdicts: list[str] = []

    async def note(_submission: Submission, result: TransactionResult) -> None:
        outcomes.append(told(result, protocol=directive(path, "protocol", "smtp")))
        verdicts.append(meant(result))

    try:
        client = await SmtpClient.open(
            relay,
            timeout=float(directive(path, "timeout", "5")),
            final_dot_timeout=float(directive(path, "patience", "5")),
        )
    except RouteFailed as error:
        return {"outcome": [f"route failed: {error}"], "verdict": [], "untried": [], "usable": [], "in by": []}
    waiting = submissions(path, has_news=lambda: client._connection.has_news)
    try:
        untried = await client.submit_many(lambda: waiting.pop(0) if waiting else None, note)
        usable = client.is_usable
    finally:
        await client.quit()
    return {
        "outcome": outcomes,
        "verdict": verdicts,
        "untried": [untried.content.decode().strip()] if untried and isinstance(untried.content, bytes) else [],
        "usable": [] if usable else ["no"],
        "in by": [client.mechanism.value] if client.mechanism else [],
    }


@pytest.mark.parametrize(("path", "chunking"), cases(), ids=lambda case: getattr(case, "stem", None) or case.value)
def test_the_dialogue_comes_to_its_outcome(path: Path, chunking: Chunking, tmp_path: Path) -> None:
    async def speak() -> dict[str, list[str]]:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        mode = TlsMode(directive(path, "tls", "none"))
        server = ScriptedServer(load(path), chunking=chunking, tls=tls)
        async with server.listening(implicit_tls=mode is TlsMode.IMPLICIT):
            relay = SmtpEndpoint(
                host="127.0.0.1",
                port=server.port,
                tls=mode,
                trust=TlsSettings(server_name="127.0.0.1", trust=Trust(ca_file=tmp_path / "ca.pem")),
                helo_name="gw.corp.example",
                credentials=credentials(path),
                prefer=next(map(Mechanism, directives(path, "prefer")), None),
                may_log_in_without_tls=not directives(path, "private"),
                is_lmtp=directive(path, "protocol", "smtp") == "lmtp",
            )
            return await converse(path, relay)

    expected = {name: directives(path, name) for name in ("outcome", "verdict", "untried", "usable", "in by")}
    came = asyncio.run(speak())
    if is_about_opening(path):
        del expected["verdict"], came["verdict"]
    assert came == expected


def is_about_opening(path: Path) -> bool:
    """Whether the transaction is there only to show that the session is open."""
    return bool(directives(path, "login") or directives(path, "tls"))
