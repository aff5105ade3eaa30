"""Reading a password from where the configuration says it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stages.passwords import (
    PasswordCommand,
    PasswordCredential,
    PasswordFile,
    PasswordSource,
    PasswordUnavailable,
    PasswordVariable,
    read,
)
from stages.secret import Secret
from tests.support.processes import wait_until

ENV = {"PATH": os.defpath}


def revealed(source: PasswordSource, env: dict[str, str] = ENV) -> str:
    return read(source, env).reveal()


def refusal(source: PasswordSource, env: dict[str, str] = ENV) -> str:
    with pytest.raises(PasswordUnavailable) as error:
        read(source, env)
    return str(error.value)


def private(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_a_password_in_the_configuration_is_itself() -> None:
    assert revealed(Secret("s3cret")) == "s3cret"


@pytest.mark.parametrize("content", [b"s3cret", b"s3cret\n", b"s3cret\r\n", b"s3cret\nuser: sales\n"])
def test_a_password_is_the_first_line_of_a_file(tmp_path: Path, content: bytes) -> None:
    """Editors end the last line; password managers write notes below."""
    assert revealed(PasswordFile(private(tmp_path / "pw", content))) == "s3cret"


def test_spaces_belong_to_the_password(tmp_path: Path) -> None:
    assert revealed(PasswordFile(private(tmp_path / "pw", b" a b \n"))) == " a b "


def test_a_rotated_password_is_found_at_the_next_login(tmp_path: Path) -> None:
    source = PasswordFile(private(tmp_path / "pw", b"old\n"))
    revealed(source)
    private(tmp_path / "pw", b"new\n")
    assert revealed(source) == "new"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o444])
def test_a_file_that_others_can_read_is_refused_with_the_chmod(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "pw", b"s3cret\n")
    path.chmod(mode)
    assert refusal(PasswordFile(path)) == f"{path} is readable by group or others: chmod 600 {path}"


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    assert refusal(PasswordFile(tmp_path / "pw")) == f"{tmp_path / 'pw'}: No such file or directory"


def test_an_empty_file_holds_no_password(tmp_path: Path) -> None:
    """An empty password would be tried, and may lock the account."""
    assert "holds no password" in refusal(PasswordFile(private(tmp_path / "pw", b"\ns3cret\n")))


def test_a_password_that_is_not_utf_8_is_refused_unquoted(tmp_path: Path) -> None:
    assert refusal(PasswordFile(private(tmp_path / "pw", b"s\xe4cret\n"))) == f"{tmp_path / 'pw'} is not UTF-8"


def test_a_variable_is_read_from_the_environment() -> None:
    assert revealed(PasswordVariable("PW"), {"PW": "s3crét"}) == "s3crét"


def test_an_unset_variable_is_named() -> None:
    assert refusal(PasswordVariable("PW")) == "the environment variable PW is not set"


def test_a_command_prints_the_password() -> None:
    assert revealed(PasswordCommand("echo s3cret; echo note")) == "s3cret"


def test_a_command_sees_our_environment() -> None:
    assert revealed(PasswordCommand('printf %s "$PW"'), ENV | {"PW": "s3cret"}) == "s3cret"


def test_a_command_that_fails_says_why_and_not_what_it_printed() -> None:
    said = refusal(PasswordCommand("echo s3cret; printf 'locked\\033[2J\\nmore' >&2; exit 3"))
    assert said.startswith("the password command ended with exit status 3: locked")
    assert said.isprintable()
    assert "s3cret" not in said


def test_a_command_that_asks_a_person_gets_no_answer() -> None:
    """There is no terminal behind a service; a prompt must fail, not hang."""
    assert "exit status 1" in refusal(PasswordCommand("read answer"))


def test_a_credential_is_read_from_where_systemd_put_it(tmp_path: Path) -> None:
    """systemd grants access by ACL, which shows as a group that may read: that mode is no fault here."""
    private(tmp_path / "isp", b"s3cret").chmod(0o440)
    assert revealed(PasswordCredential("isp"), {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "s3cret"


def test_without_systemd_a_credential_says_what_the_unit_lacks() -> None:
    assert "LoadCredential=isp:" in refusal(PasswordCredential("isp"))


def test_a_command_does_not_see_what_other_secrets_are_read_from() -> None:
    """Another account's password is none of its business, and it may hand its environment on."""
    command = PasswordCommand('printf %s "${OTHER-none} $PW"', hidden=frozenset({"OTHER"}))
    assert revealed(command, ENV | {"PW": "s3cret", "OTHER": "hunter2"}) == "none s3cret"


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """What a shell leaves behind would hold its output open, and the login would wait for it."""
    pid_file = tmp_path / "pid"
    with pytest.raises(PasswordUnavailable, match=r"the password command ran longer than 0\.5 s"):
        read(PasswordCommand(f"sleep 60 & echo $! > {pid_file}; wait"), ENV, command_timeout=0.5)
    stat = Path("/proc", pid_file.read_text().strip(), "stat")
    # Its new parent may need a moment to reap it.
    wait_until(lambda: not stat.exists() or ") Z " in stat.read_text(), "it is gone", timeout=5)


def test_another_secret_is_called_by_its_name() -> None:
    with pytest.raises(PasswordUnavailable, match="the output of the token command holds no token"):
        read(PasswordCommand("true"), ENV, what="token")
