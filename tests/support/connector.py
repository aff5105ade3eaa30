"""The connector as its users have it: a configuration file, a spool directory, and the command run as a process."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomlkit

from tests.support.processes import command, run

# RFC 5321 section 4.4, as we write it, folded; it ends at its date, for a message may go on with white space.
_OUR_RECEIVED = re.compile(
    rb"Received: from (?:[^;\r\n]|\r?\n[ \t])+;(?:\r?\n)? [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} \+0000\r?\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """A configured connector; `directory` holds its configuration and its spool."""

    directory: Path

    @property
    def configuration(self) -> Path:
        return self.directory / "pop3connector.toml"

    @property
    def spool(self) -> Path:
        return self.directory / "spool"

    def command(self, *arguments: str) -> list[str]:
        """The command line of our command with this configuration."""
        return command("--config", self.configuration, *arguments)

    def run(self, *arguments: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return run(self.command(*arguments), timeout=timeout)

    def drain(self) -> subprocess.CompletedProcess[str]:
        """Poll every account now and move everything through."""
        return self.run("run", "--drain")

    def told(self, *arguments: str) -> object:
        """What a command with `--json` tells."""
        done = self.run(*arguments, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def badmail(self) -> list[dict[str, object]]:
        """`badmail ls --json`."""
        found = self.told("badmail", "ls")
        assert isinstance(found, list)
        return found

    def reasons(self) -> list[dict[str, object]]:
        """Why each message is in Badmail."""
        found = [message["reason"] for message in self.badmail()]
        return [reason for reason in found if isinstance(reason, dict)]

    def messages(self) -> list[dict[str, object]]:
        """`spool ls --all --json`."""
        found = self.told("spool", "ls", "--all")
        assert isinstance(found, list)
        return found

    def problems(self) -> object:
        """What `spool verify --json` finds wrong."""
        found = self.told("spool", "verify")
        assert isinstance(found, dict)
        return found["problems"]


def configure(
    directory: Path,
    *,
    smtp_port: int | None,
    accounts: Iterable[Mapping[str, object]],
    **sections: Mapping[str, object],
) -> Connector:
    """Write a configuration: `accounts` and `sections` as the file has them, over the defaults of the tests."""
    connector = Connector(directory=directory)
    document: dict[str, object] = {name: dict(section) for name, section in sections.items()}
    document["spool"] = {"directory": str(connector.spool), "min_free_space": "1MB", **sections.get("spool", {})}
    port = {} if smtp_port is None else {"port": smtp_port}
    document["smtp"] = {"host": "127.0.0.1", **port, **sections.get("smtp", {})}
    document["accounts"] = [dict(account) for account in accounts]
    connector.configuration.write_text(tomlkit.dumps(document))
    connector.configuration.chmod(0o600)
    return connector


def account(name: str, port: int, **more: object) -> dict[str, object]:
    """An account at 127.0.0.1 in clear, of the user of the same name, for that name at corp.example."""
    return {
        "name": name,
        "host": "127.0.0.1",
        "port": port,
        "tls": "none",
        "username": name,
        "password": "secret",
        "deliver_to": [f"{name}@corp.example"],
        **more,
    }


def without_our_received(content: bytes) -> bytes:
    """A message without the one field that we put on top, which must be there; with line ends of either kind."""
    found = _OUR_RECEIVED.match(content)
    assert found is not None, content[:500]
    return content[found.end() :]


def letters(count: int, *, prefix: str, sender: str = "alice@example.org") -> Sequence[bytes]:
    """Different messages, each with its name in its subject."""
    return [
        b"Return-Path: <%s>\r\nFrom: <%s>\r\nSubject: %s %d\r\n\r\nHello,\r\n.this line begins with a dot.\r\n"
        % (sender.encode(), sender.encode(), prefix.encode(), number)
        for number in range(count)
    ]
