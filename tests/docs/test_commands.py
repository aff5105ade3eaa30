"""The examples of the commands, each run as it stands on the page."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pexpect
import pytest

from pipeline.cli.main import run_command
from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server
from pipeline.demo.smtp_sink import SmtpSink
from spool.layout import Stage
from spool.opening import open_spool
from spool.queries import is_running, open_for_reading
from tests.docs.markdown import REFERENCE, made_parts, sections
from tests.docs.sample_spool import ACCOUNT, make_sample
from tests.docs.typed import NAME, Command, commands
from tests.support.connector import Connector, account, configure
from tests.support.processes import command, run, running, wait_until
from tests.support.provider import provider
from tests.support.spools import LETTER
from tests.support.terminal import at_terminal

PAGE = sections((REFERENCE / "commands.md").read_text())
# These have mail to fetch; all others look at a spool in which much has happened.
_MOVE_MAIL = ("run", "stage", "retrieve-now", "accounts retire")
THEIRS = {
    "fetchmailrc": "poll pop.isp.example proto pop3 user info is info here pass secret ssl",
    "sales": "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = pop.isp.example\nusername = info\npassword = x\n",
    "mpoprc": "account info\nhost pop.isp.example\nuser info\npassword secret\ntls on\ntls_starttls off\n",
}
EXAMPLES = [line for one in commands() for line in one.examples]


@pytest.fixture
def connector(tmp_path: Path) -> Iterator[Connector]:
    """A connector whose servers answer; its spool is empty."""
    maildrops = {ACCOUNT: ("secret", [LETTER])}
    with serving(Pop3Server(maildrops)) as pop3, serving(SmtpSink()) as sink:
        open_spool(tmp_path / "spool").close()
        yield configure(tmp_path, smtp_port=sink.port, accounts=[account(ACCOUNT, pop3.port)])


def test_every_command_has_its_section() -> None:
    assert [f"`{one.words}`" for one in commands()] == [
        heading for heading in PAGE if heading != "Before every command"
    ]
    for one in commands():
        assert made_parts(PAGE[f"`{one.words}`"]) == [f"command {one.words}"]


@pytest.mark.parametrize("one", commands(), ids=lambda one: str(one.words))
def test_the_help_of_every_command_ends_with_examples_of_its_own(
    one: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*one.words.split(), "--help"]) == 0
    listed = capsys.readouterr().out.partition("Examples:\n")[2].splitlines()
    assert tuple(line.strip() for line in listed) == one.examples
    assert one.examples
    for line in one.examples:
        assert f"{line} ".startswith(f"{NAME} {one.words} ")


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_does_what_it_says(line: str, connector: Connector) -> None:
    if not line.removeprefix(f"{NAME} ").startswith(_MOVE_MAIL):
        make_sample(connector.directory).close()
    environment = {"POP3CONNECTOR_CONFIG": str(connector.configuration)}
    arguments = command(*shlex.split(line)[1:])
    if line == "pop3connector run":
        with running(arguments, env=environment) as process:
            wait_until(lambda: stages_of(connector) == set(Stage), "all stages run")
            assert (process.stop(), process.output) == (0, "")
    elif line.startswith("pop3connector retrieve-now"):
        with running(command("run"), env=environment) as process:
            wait_until(lambda: Stage.FETCH in stages_of(connector), "fetch runs")
            done = run(arguments, env=environment)
            assert (done.returncode, done.stderr) == (0, "")
            process.stop()
    elif line.startswith("pop3connector accounts login"):
        with provider(connector.directory) as served:
            served.interval = 1
            oauth2 = {
                "client_id": "us",
                "token_endpoint": f"{served.url}/token",
                "device_endpoint": f"{served.url}/device",
                "ca_file": str(served.ca_file),
            }
            tokens = account("sales-m365", 110, oauth2=oauth2)
            del tokens["password"]
            configure(connector.directory, smtp_port=25, accounts=[tokens])
            done = run(arguments, env=environment)
            assert (done.returncode, done.stderr) == (0, "")
    elif line.startswith("pop3connector accounts import"):
        arguments = [str(theirs(connector.directory, word)) if word.startswith("/etc/") else word for word in arguments]
        done = run(arguments, env=environment)
        assert (done.returncode, "left out" in done.stdout) == (0, False)
    elif line == "pop3connector spool watch":
        watch(arguments, env=environment)
    elif "--check" in line:
        # Nothing runs here, which is what it says.
        done = run(arguments, env=environment)
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (2, "", 1)
    else:
        if line.startswith("pop3connector pickup add"):
            arguments = [with_file(connector, argument) for argument in arguments]
        elif line.startswith("pop3connector badmail export"):
            arguments = [str(connector.directory / word) if word == "badmail-2026" else word for word in arguments]
        done = run(arguments, env=environment)
        assert (done.returncode, done.stderr) == (0, "")


def with_file(connector: Connector, argument: str) -> str:
    """The argument; where it names a message file, one that is there."""
    if not argument.endswith(".eml"):
        return argument
    path = connector.directory / argument
    path.write_bytes(b"From: bob@example.org\r\nTo: sales-isp@corp.example\r\n\r\nhello\r\n")
    return str(path)


def theirs(directory: Path, name: str) -> Path:
    """A file of another fetcher, by the name that the example gives it."""
    file = directory / Path(name).name
    file.write_text(THEIRS[file.name])
    return file


def watch(arguments: Sequence[str], *, env: Mapping[str, str]) -> None:
    """Look for a moment, as a person does."""
    with at_terminal(arguments, env=env) as child:
        child.expect("all is well|critical")
        child.sendintr()
        child.expect(pexpect.EOF)
    assert child.exitstatus == 0


def stages_of(connector: Connector) -> set[Stage]:
    """The stages that run now."""
    spool = open_for_reading(connector.spool)
    try:
        return {stage for stage in Stage if is_running(spool, stage)}
    finally:
        spool.close()
