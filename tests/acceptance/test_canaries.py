"""No secret is anywhere but where it must be: the real pipeline, as processes, with a canary for each source of one.

The verbose log is on. All goes well; servers refuse the logins and repeat what they hear; a bug strikes with the
secrets in hand; a process is aborted. Then each canary is looked for, in clear and in base64 wherever it may begin
there, and so in each SASL form: in what was printed, in command lines and environments, and in every file of the spool
but messages and tokens.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import pytest

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Manners, Pop3Server, Pop3Session
from pipeline.demo.smtp_sink import SmtpSink
from spool.opening import open_spool
from spool.verbosity import EVERYBODY, set_verbosity
from tests.support.canaries import Search, canary
from tests.support.connector import Connector, account, configure, letters
from tests.support.odd_pop3 import SilentAfterLogin
from tests.support.processes import ROOT, run, running, wait_until
from tests.support.provider import Provider, provider, refusal
from tests.support.token_pop3 import TakesTokens

BY_PASSWORD = ("inline", "file", "variable", "command", "credential")
BY_TOKEN = ("token", "refresh", "application")
RELAY = "relay"
ISSUED = "issued by the provider"
CLIENT = "client secret"
# What an operator has put into the environment of our processes.
VARIABLES = ("variable", "application")
# With APOP no password would be sent.
NO_DIGEST = Manners(apop=False)
LISTINGS = (
    ("status",),
    ("spool", "ls", "--all"),
    ("spool", "stats"),
    ("spool", "verify"),
    ("badmail", "ls"),
    ("events",),
)
BUG = """
import os, sys
from pathlib import Path
from pipeline.config import load
from pipeline.process import run_stage_process
from spool.layout import Stage
from stages.fetch.entrance import credentials_of
from stages.runner import Mode

class Work:
    def begin(self, runtime): pass
    def end(self, runtime): pass
    async def work(self, runtime):
        in_hand = [await credentials_of(account) for account in runtime.settings.accounts]
        raise RuntimeError(f"a bug with {in_hand!r} and {runtime.settings!r}")

settings = load(Path(sys.argv[1]), os.environ)
sys.exit(run_stage_process(Stage.FETCH, settings, mode=Mode.ONCE, make_work=lambda stage: Work()))
"""
# Whoever starts a service may allow core dumps without end.
WITH_CORES = """
import os, resource, sys
hard = resource.RLIM_INFINITY if os.geteuid() == 0 else resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
os.execv(sys.argv[1], sys.argv[1:])
"""


class Repeats(Pop3Session):
    """Refuses every login once the secret was sent, and repeats what came; all of that is in `heard`."""

    heard: ClassVar[list[bytes]] = []
    responses_due = 0

    def capa(self, argument: str) -> bytes:
        return super().capa(argument).removesuffix(b".\r\n") + b"SASL PLAIN LOGIN XOAUTH2\r\n.\r\n"

    def answer(self, line: bytes) -> bytes:
        if self.responses_due:
            self.responses_due -= 1
            return b"+ UGFzc3dvcmQ6\r\n" if self.responses_due else self.repeated(line)
        verb, _, mechanism = line.upper().partition(b" ")
        if verb == b"AUTH":
            self.responses_due = 2 if mechanism == b"LOGIN" else 1
            return b"+ \r\n"
        return self.repeated(line) if verb == b"PASS" else super().answer(line)

    def repeated(self, line: bytes) -> bytes:
        self.heard.append(line)
        return self.err(b"[AUTH] wrong: " + line)


class Parrot(Repeats):
    """What was sent comes back as it was, as no server of any protocol would have it."""

    def repeated(self, line: bytes) -> bytes:
        super().repeated(line)
        return line + b"\r\n"


class RepeatingRelay:
    """Offers AUTH PLAIN, and refuses whatever comes with what came."""

    def __init__(self) -> None:
        self.port = 0
        self.heard = b""

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 relay\r\n")
        while line := await reader.readline():
            self.heard += line
            offer = b"250-relay\r\n250 AUTH PLAIN\r\n"
            writer.write(offer if line.startswith(b"EHLO") else b"535 5.7.8 wrong: " + line)
        writer.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The canaries, where they are kept, and the search for them."""

    directory: Path
    served: Provider
    canaries: Mapping[str, str]
    search: Search

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PW_VARIABLE": self.canaries["variable"],
            "CS_VARIABLE": self.canaries["application"],
            "CREDENTIALS_DIRECTORY": str(self.directory / "kept"),
        }

    def configure(
        self, *, pop3_port: int, smtp_port: int, auths: tuple[str, str] = ("auto", "auto"), only: str | None = None
    ) -> Connector:
        """A configuration with an account for each canary, or for one; the first two log in by these words."""
        kept, client = self.directory / "kept", {"client_id": "us", "ca_file": str(self.served.ca_file)}
        endpoints = {"token_endpoint": f"{self.served.url}/token", **client}
        sources: dict[str, dict[str, object]] = {
            "inline": {"password": self.canaries["inline"], "auth": auths[0]},
            "file": {"password_file": str(kept / "file"), "auth": auths[1]},
            "variable": {"password_env": "PW_VARIABLE"},
            "command": {"password_command": f"sleep 0.2; cat {kept}/command"},
            "credential": {"password_credential": "credential"},
            "token": {"oauth2": {"token_command": f"sleep 0.2; cat {kept}/token"}},
            "refresh": {
                "oauth2": {
                    **endpoints,
                    "device_endpoint": f"{self.served.url}/device",
                    "client_secret": self.canaries[CLIENT],
                    "refresh_token_file": str(kept / "refresh"),
                }
            },
            "application": {"oauth2": {**endpoints, "grant": "client_credentials", "client_secret_env": "CS_VARIABLE"}},
        }
        accounts = []
        for name, source in sources.items():
            if only in (None, name):
                entry = account(name, pop3_port)
                del entry["password"]
                accounts.append(entry | source)
        relay = {"username": "us", "password_command": f"sleep 0.2; cat {kept}/{RELAY}"}
        fetch = {"timeout": "2s"}
        connector = configure(self.directory, smtp_port=smtp_port, accounts=accounts, smtp=relay, fetch=fetch)
        spool = open_spool(connector.spool)
        set_verbosity(spool, EVERYBODY, is_verbose=True)
        spool.close()
        return connector

    def say(self, connector: Connector, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command, and look at all that it prints."""
        return self.look_at(" ".join(arguments), connector.command(*arguments))

    def look_at(self, name: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        done = run(arguments, env=self.environment, timeout=120)
        self.search.look_at(f"what {name} printed", (done.stdout + done.stderr).encode())
        return done

    def tell_all(self, connector: Connector) -> None:
        """Look at everything that the connector tells and keeps."""
        for words in LISTINGS:
            done = self.say(connector, *words, "--json")
            assert done.returncode == 0, done.stderr
            self.say(connector, *words)
        assert self.search.look_below(connector.spool, leave_out=("segments", "large", "tokens")) > 5


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    canaries = {name: canary(name.split()[0]) for name in (*BY_PASSWORD, *BY_TOKEN, RELAY, CLIENT, ISSUED)}
    (tmp_path / "kept").mkdir()
    for name, secret in canaries.items():
        file = tmp_path / "kept" / name
        file.write_text(secret + "\n")
        file.chmod(0o600)
    with provider(tmp_path) as served:
        served.good_refresh_token, served.prefix = canaries["refresh"], canaries[ISSUED]
        yield Stage(directory=tmp_path, served=served, canaries=canaries, search=Search(canaries))


def dialogue(connector: Connector) -> set[str]:
    """What the verbose log has of both sides."""
    text = (connector.spool / "logs/pop3service.log").read_text()
    return {re.sub(r"^.*? #\d+ ", "", line) for line in text.splitlines()}


def maildrops(stage: Stage) -> dict[str, tuple[str, list[bytes]]]:
    return {name: (stage.canaries[name], list(letters(1, prefix=name))) for name in (*BY_PASSWORD, *BY_TOKEN)}


def test_all_goes_well_and_no_secret_is_left_behind(stage: Stage) -> None:
    pop3 = Pop3Server(maildrops(stage), NO_DIGEST, session=TakesTokens)
    with serving(pop3), serving(SmtpSink(logins={"us": stage.canaries[RELAY]})) as sink:
        connector = stage.configure(pop3_port=pop3.port, smtp_port=sink.port)
        with stage.search.watching(allowed_in_ours=VARIABLES) as seen:
            assert stage.say(connector, "run", "--drain").returncode == 0
            assert stage.say(connector, "check", "--connect").returncode == 0
            assert stage.say(connector, "probe", "token", "--json").returncode == 0
            assert stage.say(connector, "accounts", "login", "refresh").returncode == 0
        stage.tell_all(connector)
    delivered = {message.recipients[0].partition("@")[0] for message in sink.accepted}
    assert delivered == {*BY_PASSWORD, *BY_TOKEN}
    assert {form["grant_type"] for form in stage.served.forms if "grant_type" in form} >= {
        "refresh_token",
        "client_credentials",
    }
    assert any(line.startswith(b"/bin/sh") for line in seen)
    assert {"> PASS ***", "> AUTH XOAUTH2", "> ***", "> AUTH PLAIN ***", "> DATA"} <= dialogue(connector)
    assert stage.search.found == set()


@pytest.mark.parametrize("session", [Repeats, Parrot])
def test_nothing_goes_well_and_no_secret_is_left_behind(stage: Stage, session: type[Pop3Session]) -> None:
    Repeats.heard.clear()
    pop3 = Pop3Server(maildrops(stage), NO_DIGEST, session=session)
    with serving(pop3), serving(RepeatingRelay()) as relay:
        connector = stage.configure(pop3_port=pop3.port, smtp_port=relay.port, auths=("plain", "login"))
        with stage.search.watching(allowed_in_ours=VARIABLES):
            assert stage.say(connector, "run", "--drain").returncode == 75
            assert stage.say(connector, "check", "--connect", "--json").returncode == 75
            for name in (*BY_PASSWORD, *BY_TOKEN):
                assert stage.say(connector, "probe", name).returncode == 75
            secrets_of_the_client = " and ".join(stage.canaries[name] for name in (CLIENT, "refresh", "application"))
            stage.served.replies.extend([refusal("invalid_client", f"wrong: {secrets_of_the_client}")] * 3)
            assert stage.say(connector, "accounts", "login", "refresh").returncode == 78
            stage.say(connector, "check", "--connect")
        stage.tell_all(connector)
    # The other way round: each was said, and so could have been repeated anywhere.
    on_the_wire = Search(stage.canaries)
    on_the_wire.look_at("use", b"\n".join([*Repeats.heard, relay.heard]))
    assert on_the_wire.found == {f"{name} in use" for name in (*BY_PASSWORD, "token", ISSUED, RELAY)}
    assert {"> AUTH PLAIN", "> AUTH LOGIN", "> AUTH XOAUTH2", "> ***", "> AUTH PLAIN ***"} <= dialogue(connector)
    assert stage.search.found == set()


def test_a_bug_with_the_secrets_in_hand_shows_none(stage: Stage) -> None:
    connector = stage.configure(pop3_port=110, smtp_port=25)
    done = stage.look_at("the bug", [sys.executable, "-c", BUG, str(connector.configuration)])
    assert done.returncode == 70
    assert "a bug with" in (connector.spool / "logs/crash-fetch.log").read_text()
    stage.tell_all(connector)
    assert stage.search.found == set()


def cores() -> set[Path]:
    """What a kernel may have left where our processes were started."""
    return set(ROOT.glob("core*"))


def test_a_process_that_is_aborted_with_a_secret_in_hand_leaves_no_core(stage: Stage) -> None:
    before = cores()
    pop3 = Pop3Server(maildrops(stage), session=SilentAfterLogin)
    with serving(pop3), serving(SmtpSink()) as sink:
        connector = stage.configure(pop3_port=pop3.port, smtp_port=sink.port, only="inline")
        arguments = [sys.executable, "-c", WITH_CORES, *connector.command("run")]
        with running(arguments, env=stage.environment) as process:
            wait_until(lambda: any(session.user for session in pop3.sessions), "a login")
            pid = int((connector.spool / "locks/fetch.pid").read_text())
            limits = Path(f"/proc/{pid}/limits").read_text()
            os.kill(pid, signal.SIGABRT)
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the process")
            process.stop()
            stage.search.look_at("what run printed", process.output.encode())
        stage.tell_all(connector)
    (core,) = [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file size")]
    assert set(core) <= {"0", "1"}  # core(5): too little for any core; at 1 none goes to a program either
    assert cores() == before
    assert stage.search.found == set()


@pytest.mark.parametrize(
    "form",
    [
        lambda secret: secret,
        lambda secret: secret.upper(),
        lambda secret: b64encode(b"\0us\0" + secret.encode()).decode(),
        lambda secret: b64encode(secret.encode()).decode(),
        lambda secret: b64encode(f"user=a\x01auth=Bearer {secret}\x01\x01".encode()).decode(),
        lambda secret: b64encode(f"ab{secret}c".encode()).decode(),
    ],
    ids=["clear", "capitals", "PLAIN", "LOGIN", "XOAUTH2", "the third place"],
)
def test_what_is_planted_is_found(tmp_path: Path, form: object) -> None:
    """A search that finds nothing must be one that could."""
    assert callable(form)
    secret = canary("planted")
    search, clean = Search({"planted": secret}), Search({"planted": canary("planted")})
    (tmp_path / "spool/logs").mkdir(parents=True)
    (tmp_path / "spool/logs/a").write_text(f"before {form(secret)} behind")
    for one in (search, clean):
        one.look_below(tmp_path / "spool")
    assert (search.found, clean.found) == ({"planted in logs/a"}, set())


def test_what_is_planted_in_a_process_is_found() -> None:
    secret = canary("planted")
    search = Search({"planted": secret})
    with search.watching(allowed_in_ours=()):
        for arguments, environment in ((["sleep", "30"], {"PW": secret}), (["sh", "-c", f"sleep 30 # {secret}"], {})):
            before = len(search.found)
            with subprocess.Popen(arguments, env={"PATH": os.defpath, **environment}) as child:
                try:
                    wait_until(lambda before=before: len(search.found) > before, "it is found")  # type: ignore[misc]
                finally:
                    child.kill()
    assert {found.partition("b'")[0] for found in search.found} == {
        "planted in the environment of ",
        "planted in the command line ",
    }
