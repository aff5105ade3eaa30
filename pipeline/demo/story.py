"""The demonstration: sample mail through the real pipeline, run as real processes, and what became of it.

A POP3 server and an SMTP server run in threads of this process; everything else is the installed command with a
configuration of its own.

**Invariants:** nothing outlives the story, however it ends: the processes are waited for before their directory goes.
"""

# ruff: noqa: T201 - it is told on standard output

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.demo.background import serving
from pipeline.demo.mails import RECIPIENT, SPAM_MARKER, SampleMail, samples
from pipeline.demo.pop3_server import Pop3Server
from pipeline.demo.smtp_sink import Accepted, Part, Refusal, SinkRules, SmtpSink
from pipeline.exit_codes import ExitCode
from spool import queries
from spool.accounts import Accounts, Left
from spool.disk import Disk
from spool.queries import open_for_reading
from spool.rows import Message
from spool.states import State

ACCOUNT = "sales-isp"
PASSWORD = "demonstration"  # noqa: S105 - of a server that lives for a few seconds, on loopback
MENDED_SENDER = "newsletter@shop.example"
SIZE_LIMIT_OCTETS = 64 * 1024
_RULES = SinkRules(
    refusals=(Refusal(part=Part.CONTENT, marker=SPAM_MARKER, reply="554 5.7.1 Refused as spam"),),
    size_limit_octets=SIZE_LIMIT_OCTETS,
)
_CONFIGURATION = """\
[spool]
directory = "{spool}"
min_free_space = "1MB"

[smtp]
host = "127.0.0.1"
port = {smtp_port}
default_domain = "corp.example"

[[accounts]]
name = "{account}"
host = "127.0.0.1"
port = {pop3_port}
tls = "none"
username = "sales"
password = "{password}"
deliver_to = "{recipient}"
"""


class _Failed(Exception):
    """A command of the story did not end well."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def tell() -> int:
    """Run the demonstration and answer its exit code."""
    mails = samples(oversize_octets=SIZE_LIMIT_OCTETS + 4096)
    maildrop = {"sales": (PASSWORD, [mail.content for mail in mails])}
    with (
        _ended_by_signals(),
        tempfile.TemporaryDirectory(prefix="pop3connector-demo-") as place,
        serving(Pop3Server(maildrop)) as pop3,
        serving(SmtpSink(_RULES)) as sink,
    ):
        story = _Story(place=Path(place), mails=mails, pop3=pop3, sink=sink)
        try:
            story.write_configuration()
            story.fetch_and_deliver()
            story.replay()
        except _Failed as failure:
            return failure.code
    return ExitCode.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class _Story:
    place: Path
    mails: Sequence[SampleMail]
    pop3: Pop3Server
    sink: SmtpSink

    @property
    def configuration(self) -> Path:
        return self.place / "pop3connector.toml"

    def write_configuration(self) -> None:
        text = _CONFIGURATION.format(
            spool=self.place / "spool",
            smtp_port=self.sink.port,
            pop3_port=self.pop3.port,
            account=ACCOUNT,
            password=PASSWORD,
            recipient=RECIPIENT,
        )
        Disk().write_file(self.configuration, [text.encode()])

    def fetch_and_deliver(self) -> None:
        print(f"A POP3 server holds {len(self.mails)} messages; an SMTP server takes up to {SIZE_LIMIT_OCTETS} octets.")
        self.command("run", "--drain")
        self.print_delivered(self.sink.accepted)
        print("\nRejected, kept in Badmail with the reason:")
        for message in self.badmail():
            _print_line(self.title_of(message.sha256), str(message.reason))
        print("\nLeft at the provider:")
        for left in self.left():
            _print_line(self.title_of_octets(left.octets), f"{left.octets} octets, the limit is {left.limit_octets}")
        print(f"  The maildrop now holds {len(self.pop3.maildrop('sales'))} of {len(self.mails)} messages.")

    def replay(self) -> None:
        """Mend the reverse-path that no rule could repair."""
        (malformed,) = [one for one in self.badmail() if one.reason and one.reason.stage == "validate"]
        before = len(self.sink.accepted)
        print("\nThe malformed return path can be mended by hand:")
        self.command("badmail", "replay", malformed.queue_id, "--sender", MENDED_SENDER)
        self.command("run", "--drain")
        self.print_delivered(self.sink.accepted[before:])

    def print_delivered(self, accepted: Sequence[Accepted]) -> None:
        print("\nDelivered, byte for byte below our one Received line:")
        for message in accepted:
            title = next(mail.title for mail in self.mails if message.content.endswith(mail.content))
            _print_line(title, f"from <{message.reverse_path}>")

    def badmail(self) -> Sequence[Message]:
        spool = open_for_reading(self.place / "spool")
        try:
            return queries.messages(spool, (State.BADMAIL,))
        finally:
            spool.close()

    def left(self) -> Sequence[Left]:
        spool = open_for_reading(self.place / "spool")
        try:
            return Accounts(spool).left(ACCOUNT)
        finally:
            spool.close()

    def title_of(self, sha256: bytes) -> str:
        return next(mail.title for mail in self.mails if hashlib.sha256(mail.content).digest() == sha256)

    def title_of_octets(self, octets: int) -> str:
        return next(mail.title for mail in self.mails if len(mail.content) == octets)

    def command(self, *arguments: str) -> None:
        """Run our own command as a process; raises _Failed where it does not end with 0."""
        print(f"\n$ pop3connector {' '.join(arguments)}", flush=True)
        command = [sys.executable, "-m", "pipeline.cli.main", "--config", str(self.configuration), *arguments]
        with subprocess.Popen(command) as process:
            try:
                code = process.wait()
            except BaseException:
                # It ends its own processes first; until then they write where we are about to clear away.
                process.terminate()
                process.wait()
                raise
        if code:
            raise _Failed(code)


def _print_line(title: str, text: str) -> None:
    print(f"  {title:<24} {text}")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the story by an exception: everything is cleared away."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
