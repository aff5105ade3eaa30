"""The verbose log of every way to log in, of odd servers and of long listings: all that was said, and no secret.

A canary is looked for in clear and in every form in which it may have been sent.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.demo.pop3_server import Pop3Session
from spool.accounts import Accounts
from spool.doorbell import ring
from spool.layout import Stage
from spool.poll_progress import read_progress
from spool.verbosity import EVERYBODY, Verbosity
from stages.dialogue import FIRST_LINES
from stages.errors import StageError
from stages.pop3.client import Pop3Client, Pop3Endpoint
from stages.runner import Mode
from stages.sasl.credentials import NAMED, Credentials
from stages.secret import Secret
from stages.settings import AuthMethod, TlsMode
from stages.smtp.client import SmtpClient
from stages.smtp.opening import SmtpEndpoint
from stages.stream import TlsSettings
from stages.verbose_log import VerboseLog
from tests.support.any_login import AnyLogin, Manner
from tests.support.canaries import Search, canary
from tests.support.fetching import Fetching, Provider, mail, until
from tests.support.odd_pop3 import SilentAfterLogin
from tests.support.sasl import ntlm_users
from tests.support.spools import make_spool

PATIENCE = 5.0
SECRET = canary("login")
ALL = Verbosity(wishes={EVERYBODY: True})
_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z fetch\[\d+\] \S+ #\d+ [<>*] \S.*")
_OURS = re.compile(r"> (AUTH [A-Z0-9-]+( \*\*\*)?|\*\*\*|\*|USER alice|PASS \*\*\*|APOP alice \*\*\*|EHLO gw|QUIT)")
_CHALLENGE = re.compile(r"< (\+|334) ")


@pytest.fixture(autouse=True)
def ntlm_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTLM_USER_FILE", str(ntlm_users(tmp_path / "users", alice=SECRET)))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[VerboseLog]:
    spool = make_spool(tmp_path)
    made = VerboseLog(spool, Stage.FETCH)
    made.heed(ALL)
    yield made
    made.close()
    spool.close()


def lines(directory: Path) -> list[str]:
    return (directory / "spool/logs/pop3service.log").read_text().splitlines()


def dialogue(directory: Path) -> list[str]:
    """Each line from the side on that speaks."""
    return [re.sub(r"^.*? #\d+ ", "", line) for line in lines(directory)]


def alice(method: AuthMethod) -> Credentials:
    secret = Secret(SECRET)
    if method.takes_token:
        return Credentials(username="alice", method=method, token=secret)
    return Credentials(username="alice", method=method, password=secret)


async def log_in_to_maildrop(log: VerboseLog, port: int, who: Credentials) -> None:
    endpoint = Pop3Endpoint(host="127.0.0.1", port=port, tls=TlsMode.NONE)
    told = log.account("sales")
    client = await Pop3Client.open(endpoint, timeout=PATIENCE, dialogue=told, ask_capabilities=False)
    try:
        await client.login(who)
    finally:
        await client.close()


async def log_in_to_relay(log: VerboseLog, port: int, who: Credentials) -> None:
    endpoint = SmtpEndpoint(
        host="127.0.0.1",
        port=port,
        tls=TlsMode.NONE,
        trust=TlsSettings(server_name="127.0.0.1"),
        helo_name="gw",
        credentials=who,
        may_log_in_without_tls=True,
    )
    client = await SmtpClient.open(endpoint, timeout=PATIENCE, final_dot_timeout=PATIENCE, dialogue=log.relay())
    await client.quit()


@pytest.mark.parametrize("manner", Manner, ids=lambda manner: manner.name.lower())
@pytest.mark.parametrize("method", [method for method in AuthMethod if method is not AuthMethod.AUTO])
@pytest.mark.parametrize("is_smtp", [False, True], ids=["POP3", "SMTP"])
def test_a_login_is_in_the_log_and_nothing_secret_of_it(
    log: VerboseLog, tmp_path: Path, is_smtp: bool, method: AuthMethod, manner: Manner
) -> None:
    if is_smtp and method not in NAMED:
        method = AuthMethod.PLAIN  # USER and APOP are POP3's alone
    if method is AuthMethod.APOP and manner is Manner.REPEATS_IN_CAPITALS:
        manner = Manner.REPEATS_THE_LINE  # RFC 1939 section 7: the password itself is never sent

    async def talk() -> None:
        async with AnyLogin(is_smtp=is_smtp, secret=SECRET, manner=manner).listening() as server:
            log_in = log_in_to_relay if is_smtp else log_in_to_maildrop
            with suppress(StageError):
                await log_in(log, server.port, alice(method))

    asyncio.run(talk())
    found = Search({"the secret": SECRET})
    found.look_at("the log", "\n".join(lines(tmp_path)).encode())
    assert found.found == set()
    told = dialogue(tmp_path)
    verb = {AuthMethod.BASIC: "PASS ***", AuthMethod.APOP: "APOP alice ***"}.get(method, f"AUTH {NAMED.get(method)}")
    assert any(line.startswith(f"> {verb}") for line in told)
    assert [line for line in told if line.startswith(">") and not _OURS.fullmatch(line)] == []
    assert [line for line in told if _CHALLENGE.match(line) and not re.fullmatch(r".*<\.\.\. \d+ octets>", line)] == []
    assert [line for line in lines(tmp_path) if not _LINE.fullmatch(line)] == []
    if manner is Manner.BELIEVES:
        assert told[-1] == "* closed"
        assert ("< 235 2.7.0 yes" if is_smtp else "< +OK yes") in told


class Endless(Pop3Session):
    """Says what no terminal should be told."""

    def stat(self, argument: str) -> bytes:
        return self.err(b"\x1b[2J\x1b[1;1Hgone \xe2\x80\xae \x00" + b"x" * 4000)


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)


def poll(fetching: Fetching, provider: Provider, *, is_verbose: bool = True) -> None:
    (request,) = Accounts(fetching.spool).ask(["sales"], is_verbose=is_verbose)
    fetching.poll(provider)
    assert Accounts(fetching.spool).outcome(request) is not None


def test_a_poll_that_somebody_asked_for_is_in_the_log_from_connect_to_close(fetching: Fetching, tmp_path: Path) -> None:
    poll(fetching, Provider([mail(0)]))
    told = dialogue(tmp_path)
    assert told[0].startswith("* connecting to 127.0.0.1 port ")
    assert told[1] == "* connected to 127.0.0.1"
    assert [line for line in told if line in ("> RETR 1", f"< <... {len(mail(0))} octets>", "> DELE 1", "> QUIT")] == [
        "> RETR 1",
        f"< <... {len(mail(0))} octets>",
        "> DELE 1",
        "> QUIT",
    ]
    assert told[-1] == "* closed"
    assert "example.org" not in (tmp_path / "spool/logs/pop3service.log").read_text().partition("APOP")[2]
    assert {line.split()[1] for line in lines(tmp_path)} == {f"fetch[{os.getpid()}]"}


def test_the_next_poll_is_not(fetching: Fetching, tmp_path: Path) -> None:
    provider = Provider([mail(0)])
    poll(fetching, provider)
    before = lines(tmp_path)
    fetching.poll(provider)
    assert len(provider.sessions) == 2
    assert lines(tmp_path) == before


def test_a_poll_that_failed_says_why_behind_its_last_line(fetching: Fetching, tmp_path: Path) -> None:
    fetching.fetch(timeout=timedelta(seconds=0.3))
    poll(fetching, Provider([mail(0)], session=SilentAfterLogin))
    assert dialogue(tmp_path)[-2:] == ["* closed", "* the session failed: no octet from the server for 0.3 s"]


def test_of_a_listing_of_thousands_the_log_has_the_first_lines(fetching: Fetching, tmp_path: Path) -> None:
    count = 2000
    poll(fetching, Provider([mail(number) for number in range(count)]))
    told = dialogue(tmp_path)
    # LIST and UIDL, in the first session at least; each session is of 500 messages.
    assert told.count(f"< <... {count - FIRST_LINES} more lines>") == 2
    longest = max(len(line) for line in told)
    assert longest < 600


def test_what_a_server_says_can_do_nothing_to_who_reads_it(fetching: Fetching, tmp_path: Path) -> None:
    poll(fetching, Provider([mail(0)], session=Endless))
    (line,) = [line for line in dialogue(tmp_path) if line.startswith("< -ERR")]
    assert line.startswith(r"< -ERR \x1b[2J\x1b[1;1Hgone \xe2\x80\xae \x00xxx")
    assert line.endswith("...")
    assert len(line) < 600


def test_progress_is_written_while_somebody_waits_and_forgotten_at_the_end(fetching: Fetching) -> None:
    async def run() -> None:
        accounts = Accounts(fetching.spool)
        async with fetching.working(provider, mode=Mode.RUN):
            await until(lambda: len(fetching.messages()) == 1)
            (request,) = accounts.ask(["sales"], is_awaited=True)
            since = fetching.spool.now()
            provider.deliver("sales", mail(1))
            provider.kind = SilentAfterLogin
            ring(fetching.spool, Stage.FETCH)
            await until(lambda: "sales" in read_progress(fetching.spool, ["sales"], since=since))
            await until(lambda: accounts.outcome(request) is not None)
            await until(lambda: not read_progress(fetching.spool, ["sales"], since=since))

    fetching.fetch(timeout=timedelta(seconds=0.5))
    provider = Provider([mail(0)])
    asyncio.run(run())
