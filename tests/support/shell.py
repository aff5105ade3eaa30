"""The command run in this process, with a configuration of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from pipeline.cli.main import run_command

CONFIGURATION = """\
[spool]
directory = "spool"

[[accounts]]
name = "sales"
host = "pop.isp.example"
username = "sales"
password = "secret"
deliver_to = "sales@corp.example"
"""


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs commands with the configuration of `directory`."""

    directory: Path
    capture: pytest.CaptureFixture[bytes]

    @classmethod
    def in_directory(cls, directory: Path, capture: pytest.CaptureFixture[bytes]) -> Self:
        """Write the configuration, whose spool is `directory/spool`."""
        file = directory / "pop3connector.toml"
        file.write_text(CONFIGURATION)
        file.chmod(0o600)
        return cls(directory, capture)

    def run(self, *arguments: str) -> int:
        """Run a command and answer its exit code."""
        return run_command(["--config", str(self.directory / "pop3connector.toml"), *arguments])

    def octets(self, *arguments: str) -> bytes:
        """What a command that ends well prints."""
        self.capture.readouterr()
        assert self.run(*arguments) == 0
        return self.capture.readouterr().out

    def lines(self, *arguments: str) -> list[str]:
        """The lines that a command that ends well prints."""
        return self.octets(*arguments).decode("ascii").splitlines()

    def json(self, *arguments: str) -> object:
        """What a command that ends well prints with --json."""
        return json.loads(self.octets(*arguments, "--json"))

    def objects(self, *arguments: str) -> list[dict[str, object]]:
        """The same, for a listing."""
        found = self.json(*arguments)
        assert isinstance(found, list)
        return found

    def object(self, *arguments: str) -> dict[str, object]:
        """The same, for one object."""
        found = self.json(*arguments)
        assert isinstance(found, dict)
        return found

    def failure(self, *arguments: str) -> tuple[int, str]:
        """The exit code of a command that fails, and what it says on standard error."""
        self.capture.readouterr()
        code = self.run(*arguments)
        return code, self.capture.readouterr().err.decode()
