"""`accounts add`, `edit`, `remove`, `enable`, `disable` without anybody to ask."""

from __future__ import annotations

import io
import os
import stat
import sys
import tomllib
from pathlib import Path

import pytest

from spool.accounts import Accounts, AccountState
from spool.opening import Spool
from tests.support.shell import CONFIGURATION, Shell
from tests.support.spools import admit, arrival

NEW = (
    *("accounts", "add", "info", "--host", "pop.isp.example", "--username", "info"),
    *("--password-env", "INFO", "--deliver-to", "info@corp.example"),
)


def text(shell: Shell) -> str:
    return (shell.directory / "pop3connector.toml").read_text()


def account(shell: Shell, name: str) -> dict[str, object]:
    return next(dict(one) for one in tomllib.loads(text(shell))["accounts"] if one["name"] == name)


def names(shell: Shell) -> set[str]:
    return {path.name for path in shell.directory.iterdir()}


def type_password(monkeypatch: pytest.MonkeyPatch, octets: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(octets)))


def test_add_writes_what_was_given_and_nothing_else(shell: Shell) -> None:
    lines = shell.lines(*NEW, "--tls", "none", "--interval", "30m", "--leave-on-server", "14d")
    assert lines[0] == f"account info added to {shell.directory / 'pop3connector.toml'}"
    assert text(shell) == CONFIGURATION + (
        '\n[[accounts]]\nname = "info"\nhost = "pop.isp.example"\ntls = "none"\nusername = "info"\n'
        'password_env = "INFO"\ndeliver_to = "info@corp.example"\ninterval = "30m"\nleave_on_server = "14d"\n'
    )


def test_all_that_is_missing_is_one_line_and_64(shell: Shell) -> None:
    code, said = shell.failure("accounts", "add", "--host", "h")
    assert (code, said) == (
        64,
        "pop3connector: missing: NAME, --username, --deliver-to, a password (--password-file, --password-env, "
        "--password-command or --password-stdin)\n",
    )
    assert text(shell) == CONFIGURATION


def test_all_that_is_wrong_is_said_at_once_in_the_words_of_check(shell: Shell) -> None:
    code, said = shell.failure(
        *("accounts", "add", "sales", "--host", "pop.isp.example", "--port", "many", "--username", "sales"),
        *("--password-env", "A", "--password-file", "/nowhere", "--interval", "1m"),
    )
    assert code == 78
    problems = sorted(line.removeprefix("pop3connector: accounts[1].") for line in said.splitlines())
    assert [problem.partition(":")[0] for problem in problems] == [
        *("interval", "name", "password", "password_file", "port", "username")
    ]
    assert text(shell) == CONFIGURATION


def test_several_addresses_become_a_list_and_numbers_numbers(shell: Shell) -> None:
    shell.lines(*NEW, "--deliver-to", "office@corp.example", "--port", "1100")
    added = account(shell, "info")
    assert (added["deliver_to"], added["port"]) == (["info@corp.example", "office@corp.example"], 1100)


def test_a_password_of_standard_input_goes_into_a_file_for_us_alone(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_password(monkeypatch, "gehëim\nmore\n".encode())
    arguments = [word for word in NEW if word not in ("--password-env", "INFO")]
    lines = shell.lines(*arguments, "--password-stdin")
    file = shell.directory / "info.password"
    assert f"its password is in {file}" in lines
    assert account(shell, "info")["password_file"] == "info.password"
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("gehëim\n", 0o600)
    assert "gehëim" not in text(shell)


@pytest.mark.parametrize("octets", [b"", b"\n", b"\xff\n", b"a\0b\n"])
def test_a_password_that_cannot_be_one_is_64(shell: Shell, monkeypatch: pytest.MonkeyPatch, octets: bytes) -> None:
    type_password(monkeypatch, octets)
    code, said = shell.failure("accounts", "edit", "sales", "--password-stdin")
    assert (code, said.count("\n"), text(shell)) == (64, 1, CONFIGURATION)


def test_two_sources_of_the_password_are_one_too_many(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    type_password(monkeypatch, b"secret\n")
    assert shell.failure(*NEW, "--password-stdin")[0] == 64
    assert text(shell) == CONFIGURATION


def test_a_password_file_that_is_there_is_not_overwritten(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    file = shell.directory / "info.password"
    file.write_text("somebody else's")
    type_password(monkeypatch, b"secret\n")
    arguments = [word for word in NEW if word not in ("--password-env", "INFO")]
    code, said = shell.failure(*arguments, "--password-stdin")
    assert (code, f"{file} is there already" in said) == (64, True)
    assert (file.read_text(), text(shell)) == ("somebody else's", CONFIGURATION)


def test_a_name_with_a_slash_makes_no_path(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    type_password(monkeypatch, b"secret\n")
    arguments = [word if word != "info" else "../info" for word in NEW if word not in ("--password-env", "INFO")]
    shell.lines(*arguments, "--password-stdin")
    assert "..%2Finfo.password" in names(shell)


def test_a_relative_file_is_meant_from_where_it_was_typed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    (shell.directory / "here").mkdir()
    password = shell.directory / "here" / "pw"
    password.write_text("secret\n")
    password.chmod(0o600)
    monkeypatch.chdir(password.parent)
    shell.lines("accounts", "edit", "sales", "--password-file", "pw")
    assert account(shell, "sales")["password_file"] == str(password)


def test_without_a_configuration_one_is_made(shell: Shell) -> None:
    (shell.directory / "pop3connector.toml").unlink()
    shell.lines(*NEW)
    made = shell.directory / "pop3connector.toml"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert made.read_text().startswith("# The configuration of the POP3 Connector.")
    assert account(shell, "info")["host"] == "pop.isp.example"


def test_a_configuration_with_problems_is_not_added_to(shell: Shell) -> None:
    broken = CONFIGURATION.replace("host", "hots")
    (shell.directory / "pop3connector.toml").write_text(broken)
    code, said = shell.failure(*NEW)
    assert (code, "unknown key; did you mean host?" in said, text(shell)) == (78, True, broken)


def test_edit_changes_what_is_given_and_an_empty_value_takes_a_key_away(shell: Shell) -> None:
    shell.lines("accounts", "edit", "sales", "--interval", "30m", "--host", "pop.new.example")
    assert (account(shell, "sales")["interval"], account(shell, "sales")["host"]) == ("30m", "pop.new.example")
    shell.lines("accounts", "edit", "sales", "--interval", "")
    assert "interval" not in account(shell, "sales")
    code, said = shell.failure("accounts", "edit", "sales", "--host", "")
    assert (code, "accounts[0].host: is required" in said) == (78, True)


def test_edit_to_what_it_is_changes_nothing(shell: Shell) -> None:
    assert shell.lines("accounts", "edit", "sales", "--deliver-to", "sales@corp.example") == [
        "account sales: nothing changed"
    ]
    assert text(shell) == CONFIGURATION


def test_edit_with_nothing_given_and_nobody_to_ask_is_64(shell: Shell) -> None:
    assert shell.failure("accounts", "edit", "sales")[0] == 64


def test_another_source_takes_the_place_of_the_password(shell: Shell) -> None:
    shell.lines("accounts", "edit", "sales", "--password-command", "pass show isp")
    changed = account(shell, "sales")
    assert (changed["password_command"], "password" in changed) == ("pass show isp", False)


def test_who_keeps_the_password_in_the_configuration_finds_the_new_one_there(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_password(monkeypatch, b"an0ther\n")
    shell.lines("accounts", "edit", "sales", "--password-stdin")
    assert text(shell) == CONFIGURATION.replace('"secret"', '"an0ther"')
    assert names(shell) == {"pop3connector.toml"}


def test_a_password_file_of_ours_gets_the_new_password_and_goes_when_nothing_names_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.lines("accounts", "edit", "sales", "--password-env", "SALES")
    for password in (b"one\n", b"two\n"):
        type_password(monkeypatch, password)
        shell.lines("accounts", "edit", "sales", "--password-stdin")
    file = shell.directory / "sales.password"
    assert (file.read_text(), account(shell, "sales").get("password_env")) == ("two\n", None)
    assert f"its password file {file} is gone too" in shell.lines("accounts", "edit", "sales", "--password-env", "S")
    assert names(shell) == {"pop3connector.toml"}


def test_another_mailbox_under_a_name_that_has_a_past_is_warned_of(shell: Shell, spool: Spool) -> None:
    admit(spool, arrival())
    lines = shell.lines("accounts", "edit", "sales", "--username", "somebody")
    assert lines[-1].startswith(
        "warning  1 messages are remembered as had of sales: what its maildrop holds now is compared"
    )
    assert len(shell.lines("accounts", "edit", "sales", "--interval", "1h")) == 1


def test_remove_asks_and_with_nobody_to_ask_wants_yes(shell: Shell) -> None:
    code, said = shell.failure("accounts", "remove", "sales")
    assert (code, "--yes" in said, text(shell)) == (64, True, CONFIGURATION)
    shell.lines("accounts", "remove", "sales", "--yes")
    assert text(shell) == '[spool]\ndirectory = "spool"\n'


def test_remove_says_what_is_not_done_with(shell: Shell, spool: Spool) -> None:
    admit(spool, arrival())
    Accounts(spool).save(AccountState(name="sales", remote_messages=7))
    lines = shell.lines("accounts", "remove", "sales", "--yes")
    assert "1 messages of it are not delivered yet" in lines[0]
    assert "`pop3connector accounts retire sales`" in lines[0]
    assert lines[1] == "warning  7 messages were left at the provider by the last poll"


def test_remove_leaves_a_password_file_that_another_account_uses(shell: Shell) -> None:
    file = shell.directory / "sales.password"
    file.write_text("secret\n")
    file.chmod(0o600)
    shell.lines("accounts", "edit", "sales", "--password-file", str(file))
    arguments = [word for word in NEW if word not in ("--password-env", "INFO")]
    shell.lines(*arguments, "--password-file", str(file))
    shell.lines("accounts", "remove", "sales", "--yes")
    assert file.exists()


def test_enable_and_disable_change_one_key_and_say_when_there_is_nothing_to_do(shell: Shell) -> None:
    assert shell.lines("accounts", "enable", "sales") == ["account sales is enabled already"]
    assert text(shell) == CONFIGURATION
    shell.lines("accounts", "disable", "sales")
    assert text(shell) == f"{CONFIGURATION}enabled = false\n"
    assert shell.lines("accounts", "disable", "sales") == ["account sales is disabled already"]
    shell.lines("accounts", "enable", "sales")
    assert text(shell) == f"{CONFIGURATION}enabled = true\n"


@pytest.mark.parametrize(
    "command",
    [("show",), ("edit", "--host", "h"), ("remove", "--yes"), ("test",), ("enable",), ("disable",), ("retire",)],
)
def test_a_mistyped_name_is_64_with_the_one_that_was_meant(shell: Shell, command: tuple[str, ...]) -> None:
    code, said = shell.failure("accounts", command[0], "slaes", *command[1:])
    assert (code, said) == (64, "pop3connector: there is no account 'slaes': 'sales' perhaps?\n")


def test_text_from_the_command_line_cannot_move_the_cursor(shell: Shell) -> None:
    code, said = shell.failure("accounts", "add", "\x1b[2J", "--host", "\x9b31m")
    assert (code, said.replace("\n", "").isprintable(), said.isascii()) == (78, True, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_adds_belongs_to_the_user_of_the_spool(
    shell: Shell, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(spool.layout.root, 12345, 23456)
    type_password(monkeypatch, b"secret\n")
    arguments = [word for word in NEW if word not in ("--password-env", "INFO")]
    shell.lines(*arguments, "--password-stdin")
    status = Path(shell.directory / "info.password").stat()
    os.chown(spool.layout.root, 0, 0)
    assert (status.st_uid, status.st_gid) == (12345, 23456)
