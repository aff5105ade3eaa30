"""What a shell is told when somebody presses the tabulator."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.cli.completing import VARIABLE
from pipeline.cli.options import ShellName
from spool.opening import Spool
from tests.support.processes import run
from tests.support.shell import Shell
from tests.support.spools import letters, make_ready
from tests.unit.pipeline.cli.test_messages import make_badmail

COMMAND = str(Path(sys.executable).with_name("pop3connector"))


def protocol(shell: ShellName, line: str) -> Mapping[str, str]:
    """What the script of a shell sets; the last word is the one that is being typed."""
    words = line.split(" ")
    instruction = {VARIABLE: f"complete_{shell}"}
    if shell is ShellName.BASH:
        return {**instruction, "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return {**instruction, "_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}


def offered(shell: ShellName, line: str) -> list[str]:
    """The words that a shell is offered, without what it is told of them."""
    done = run([COMMAND], env=protocol(shell, line))
    assert done.stderr == ""
    if shell is ShellName.ZSH:
        inside = done.stdout.strip().removeprefix("_arguments '*: :((").removesuffix("))'").removesuffix("_files")
        return [one.split('":"')[0].strip('"') for one in inside.splitlines()]
    return [one.split("\t")[0] for one in done.stdout.splitlines() if one]


@pytest.fixture
def typed(shell: Shell) -> str:
    """The line so far, with the configuration of the test."""
    return f"pop3connector --config {shell.directory}/pop3connector.toml"


@pytest.mark.parametrize("shell", ShellName)
def test_commands_options_and_their_words_are_completed(shell: ShellName) -> None:
    assert offered(shell, "pop3connector badm") == ["badmail"]
    assert set(offered(shell, "pop3connector spool ")) >= {"ls", "show", "watch", "verify"}
    assert offered(shell, "pop3connector spool ls --older") == ["--older-than"]
    assert offered(shell, "pop3connector spool ls --state de") == ["deferred"]


@pytest.mark.parametrize("name", ShellName)
def test_accounts_and_queue_ids_are_completed(name: ShellName, typed: str, spool: Spool) -> None:
    ready, refused = make_ready(spool, *letters(1))[0], make_badmail(spool)
    for words in ("probe", "retrieve-now", "accounts adopt", "events --account", "spool ls --account"):
        assert offered(name, f"{typed} {words} sa") == ["sales"]
        assert offered(name, f"{typed} {words} x") == []
    for words in ("spool show", "spool hold", "spool requeue", "spool rm --yes"):
        assert offered(name, f"{typed} {words} {ready[:8]}") == [ready, refused]
    assert offered(name, f"{typed} spool show {ready[:17]}") == [ready]
    for words in ("badmail show", "badmail cat --raw", "badmail replay", "badmail rm", "badmail export copies"):
        assert offered(name, f"{typed} {words} ") == [refused]


def test_of_many_the_first_are_offered_and_the_last_so_that_what_they_share_is_what_all_share(
    typed: str, spool: Spool
) -> None:
    """A shell types the common beginning of what it is offered."""
    ids = make_ready(spool, *letters(80))
    shared = "".join(letter for letter, *others in zip(*ids, strict=True) if {letter} == set(others))[:10]
    found = offered(ShellName.FISH, f"{typed} spool show {shared}")
    assert found == [*ids[:50], ids[-1]]


def test_an_account_that_is_named_already_is_not_offered_again(typed: str, shell: Shell) -> None:
    file = shell.directory / "pop3connector.toml"
    head, _, one = file.read_text().partition("[[accounts]]")
    for name in ("sa", "sb", "s c"):
        head += "[[accounts]]" + one.replace('"sales"', f'"{name}"')
    file.write_text(head)
    assert offered(ShellName.BASH, f"{typed} retrieve-now sa s") == ["sb"]


@pytest.mark.parametrize("text", [None, "", "nonsense", '[spool]\ndirectory = "/nowhere/spool"\n'])
def test_where_nothing_is_known_nothing_is_said(typed: str, shell: Shell, text: str | None) -> None:
    """Not even on standard error: the shell would print it into the line."""
    file = shell.directory / "pop3connector.toml"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    for words in ("probe", "spool show"):
        assert offered(ShellName.FISH, f"{typed} {words} ") == []


@pytest.mark.parametrize("name", ShellName)
def test_the_script_asks_the_command_in_the_way_that_it_answers(name: ShellName) -> None:
    printed = run([COMMAND, "completion", name])
    assert (printed.returncode, printed.stderr) == (0, "")
    assert f"{VARIABLE}=complete_{name}" in printed.stdout
    assert "pop3connector" in printed.stdout
    assert all(word in printed.stdout for word in protocol(name, "") if name is not ShellName.ZSH or "FISH" not in word)


@pytest.mark.parametrize("name", ShellName)
def test_the_shell_itself_takes_the_script(name: ShellName) -> None:
    """Where it is installed; a script with a syntax error would be told each time that a shell starts."""
    shell = shutil.which(name)
    syntax_only = {ShellName.FISH: "--no-execute"}.get(name, "-n")
    script = run([COMMAND, "completion", name]).stdout
    if shell is not None:
        done = subprocess.run([shell, syntax_only], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_with_the_script(typed: str, spool: Spool) -> None:
    (queue_id,) = make_ready(spool, *letters(1))
    words = f"{typed} spool show {queue_id[:12]}".split()
    script = f"""
        PATH={Path(COMMAND).parent}:$PATH
        eval "$(pop3connector completion bash)"
        COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1}
        _pop3connector_completion pop3connector
        printf '%s\\n' "${{COMPREPLY[@]}}"
        complete -p pop3connector
    """
    done = run(["bash", "--norc", "-c", script])
    binding = "complete -o default -F _pop3connector_completion pop3connector"
    assert (done.stdout, done.stderr) == (f"{queue_id}\n{binding}\n", "")
