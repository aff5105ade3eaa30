"""Servers to practise on: a mailbox with a few messages, and a mail server that says what arrives.

**Invariants:** both listen on loopback alone, keep nothing, and end with the command.
"""

# ruff: noqa: T201 - it tells on standard output

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.demo.background import serving
from pipeline.demo.mails import bounce, eight_bit, ordinary
from pipeline.demo.pop3_server import Pop3Server
from pipeline.demo.smtp_sink import Accepted, SinkRules, SmtpSink
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from spool.safe_text import safe_text

USER = "sales"
PASSWORD = "demonstration"  # noqa: S105 - of a server on loopback that lives while somebody practises
_SIZE_LIMIT_OCTETS = 10 * 1024 * 1024
_STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}


class _Teller(SmtpSink):
    """Says what it takes."""

    def keep(self, message: Accepted) -> None:
        """Take a message, and say so."""
        super().keep(message)
        envelope = f"from <{message.reverse_path}> to {', '.join(message.recipients)}"
        print(f"arrived: {len(message.content)} octets {safe_text(envelope.encode())}", flush=True)


def serve(*, pop3_port: int, smtp_port: int) -> int:
    """Serve until Ctrl-C or SIGTERM; raises CommandFailed where a port is taken."""
    mails = [ordinary(), eight_bit(), bounce()]
    pop3 = Pop3Server({USER: (PASSWORD, mails)}, port=pop3_port)
    sink = _Teller(SinkRules(size_limit_octets=_SIZE_LIMIT_OCTETS), port=smtp_port)
    # Before the servers have threads, which would take the signals.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        with (
            _on_free_port("--pop3-port", pop3_port),
            serving(pop3),
            _on_free_port("--smtp-port", smtp_port),
            serving(sink),
        ):
            print(f"a mailbox by POP3:      127.0.0.1 port {pop3.port}, without TLS")
            print(f"its user and password:  {USER}, {PASSWORD}; {len(mails)} messages")
            print(f"a mail server by SMTP:  127.0.0.1 port {sink.port}")
            print("until Ctrl-C", flush=True)
            signal.sigwait(_STOP_SIGNALS)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return ExitCode.OK


@contextmanager
def _on_free_port(option: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise CommandFailed(ExitCode.UNAVAILABLE, f"port {port} of 127.0.0.1 is taken: give {option}") from error
