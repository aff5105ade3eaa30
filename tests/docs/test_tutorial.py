"""The tutorial, followed from its first line to its last: what it tells to type is typed, what it shows is seen."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from pipeline.demo.practice import PASSWORD
from tests.docs.markdown import DOCS, blocks
from tests.support.processes import ROOT, Running, command, free_port, run, running, wait_until

PAGE = (DOCS / "tutorial" / "first-mailbox.md").read_text()
SERVERS, DIALOGUE, TESTED, ARRIVED = blocks(PAGE, "text")
PRINTED = {"POP3": "11110", "SMTP": "11025"}


@pytest.fixture
def ports() -> dict[str, str]:
    """Other ports than the page has: somebody else may be following it."""
    return {name: str(free_port()) for name in PRINTED}


@pytest.fixture
def servers(ports: dict[str, str]) -> Iterator[Running]:
    options = ("--pop3-port", ports["POP3"], "--smtp-port", ports["SMTP"])
    with running(typed("pop3connector demo --serve") + list(options)) as process:
        process.wait_for("until Ctrl-C")
        yield process


def typed(line: str, *, where: Path | None = None) -> list[str]:
    """A command line of the page; a person would be in the directory of the configuration."""
    assert line in "\n".join(blocks(PAGE, "sh")).splitlines()
    there = [] if where is None else ["--config", str(where / "pop3connector.toml")]
    return command(*there, *shlex.split(line)[1:])


def with_ports(text: str, ports: dict[str, str]) -> str:
    for name, printed in PRINTED.items():
        text = text.replace(printed, ports[name])
    return text


def test_the_page_leads_from_an_empty_directory_to_mail_that_arrives(
    servers: Running, ports: dict[str, str], tmp_path: Path
) -> None:
    assert servers.output == with_ports(SERVERS, ports)
    (configuration,) = blocks(PAGE, "toml")
    (tmp_path / "pop3connector.toml").write_text(with_ports(configuration, ports))
    assert with_ports(TESTED, ports).strip() in add(tmp_path, ports)
    checked = run(typed("pop3connector check --connect", where=tmp_path))
    assert (checked.returncode, checked.stderr) == (0, "")
    with running(typed("pop3connector run", where=tmp_path)) as connector:
        first, _, rest = ARRIVED.strip().partition("601 octets")
        wait_until(lambda: servers.output.count("arrived: ") == 3, "all three arrive")
        assert re.search(rf"^{re.escape(first)}\d+ octets{re.escape(rest)}$", servers.output, re.MULTILINE)
        for line in ("pop3connector status", "pop3connector spool ls --all", "pop3connector events"):
            done = run(typed(line, where=tmp_path))
            assert (done.returncode, done.stderr) == (0, "")
        connector.send(signal.SIGINT)
        assert (connector.ended(), connector.output) == (0, "")
    servers.send(signal.SIGINT)
    assert servers.ended() == 0


def add(place: Path, ports: dict[str, str]) -> str:
    """Hold the dialogue of the page; answers what was on the screen."""
    line = typed("pop3connector accounts add", where=place)
    terminal = pexpect.spawn(line[0], line[1:], cwd=str(ROOT), encoding="utf-8", timeout=30, dimensions=(40, 200))
    for asked in with_ports(DIALOGUE, ports).splitlines():
        question, _, answer = asked.rpartition(":")
        terminal.expect_exact(f"{question}: ")
        terminal.sendline(PASSWORD if question == "password" else answer.strip())
    terminal.expect(pexpect.EOF)
    seen = str(terminal.before).replace("\r\n", "\n")
    terminal.close()
    assert terminal.exitstatus == 0, seen
    return seen


def test_a_port_that_is_taken_is_one_line(servers: Running, ports: dict[str, str]) -> None:
    done = run(command("demo", "--serve", "--pop3-port", ports["POP3"], "--smtp-port", str(free_port())))
    assert (done.returncode, done.stderr) == (
        69,
        f"pop3connector: port {ports['POP3']} of 127.0.0.1 is taken: give --pop3-port\n",
    )
    assert servers.is_alive()
