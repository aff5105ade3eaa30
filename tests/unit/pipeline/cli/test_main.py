"""How commands end, whatever was typed."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import __version__
from pipeline.cli.badmail_app import badmail_app
from pipeline.cli.commands import app
from pipeline.cli.main import run_command
from pipeline.cli.spool_app import db_app, spool_app
from spool.opening import Spool
from tests.support.processes import command, run
from tests.support.shell import Shell
from tests.support.spools import admit, arrival


@pytest.mark.parametrize("arguments", [["bogus"], ["run", "--bogus"], ["stage", "bogus"], ["spool", "show"], []])
def test_wrong_usage_is_64(arguments: list[str]) -> None:
    assert run_command(arguments) == 64


def test_help_and_version_are_successes(capsys: pytest.CaptureFixture[str]) -> None:
    assert (run_command(["--help"]), run_command(["--version"])) == (0, 0)
    assert capsys.readouterr().out.endswith(f"pop3connector {__version__}\n")


def test_every_command_has_its_help() -> None:
    for declared in (app, spool_app, badmail_app, db_app):
        for registered in declared.registered_commands:
            assert registered.callback is not None
            assert registered.callback.__doc__


def test_a_configuration_error_names_its_path_and_is_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pop3connector.toml"
    file.write_text("[spool]\ndirectory = 3\n[smtp]\nport = 99999\n")
    assert run_command(["--config", str(file), "check"]) == 78
    assert re.findall(r"^pop3connector: ([\w.]+):", capsys.readouterr().err, re.MULTILINE) == [
        "spool.directory",
        "smtp.port",
    ]


def test_a_missing_spool_is_one_line_and_is_not_made(shell: Shell) -> None:
    """A listing that creates what it looks for would hide a wrong `spool.directory`."""
    code, said = shell.failure("spool", "ls")
    assert (code, said.count("\n")) == (78, 1)
    assert not (shell.directory / "spool").exists()


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141)]
)
def test_interruption_and_a_broken_pipe_are_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    """`pop3connector events --follow | head -1` is no error of anybody."""
    monkeypatch.setattr(app, "registered_commands", list(app.registered_commands))
    app.command(name="fail")(failing(error))
    assert (run_command(["fail"]), capsys.readouterr().err) == (code, "")


def test_a_bug_is_one_line_and_70(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(app, "registered_commands", list(app.registered_commands))
    app.command(name="fail")(failing(ZeroDivisionError("octets")))
    assert run_command(["fail"]) == 70
    assert capsys.readouterr().err == "pop3connector: unexpected ZeroDivisionError: octets\n"


def test_listing_messages_imports_no_stage(shell: Shell, spool: Spool) -> None:
    """An operator looks often, and the stages need asyncio, TLS and both protocols."""
    program = (
        "import sys; from pipeline.cli.main import run_command; code = run_command(sys.argv[1:]);"
        "print([name for name in sys.modules if name in ('stages.runner', 'stages.stream', 'pipeline.process')], code)"
    )
    config = str(shell.directory / "pop3connector.toml")
    listed = run([sys.executable, "-c", program, "--config", config, "badmail", "ls", "--json"])
    assert listed.stdout == "[]\n[] 0\n"


def test_ctrl_c_during_the_imports_is_quiet() -> None:
    """The first second of a command is spent in imports, where an exception would be printed with its traceback."""
    program = (
        "import os, signal, sys, pipeline.cli.main as main\n"
        "class Strike:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'pipeline.cli.commands':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Strike())\n"
        "main.main()\n"
    )
    ended = run([sys.executable, "-c", program])
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_what_the_character_set_of_the_terminal_lacks_is_printed_as_an_escape(shell: Shell, spool: Spool) -> None:
    """A subject from far away must not end a listing with a fault of ours."""
    (receipt,) = admit(spool, arrival("Subject: 世界\r\n\r\n".encode()))
    config = str(shell.directory / "pop3connector.toml")
    done = run(command("--config", config, "spool", "show", receipt.queue_id), env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u4e16\\u754c" in done.stdout
