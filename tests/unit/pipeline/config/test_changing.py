"""Changing the file on disk: what is written, under what conditions, and what a failure leaves."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from pipeline.config import ConfigurationError, changing
from pipeline.config.changing import ConfigurationFile, PasswordAside
from pipeline.config.editing import with_account, with_changes
from stages.secret import Secret
from tests.support.faulty_disk import FaultyDisk

TEXT = """\
[[accounts]]
name = "sales"
host = "pop.isp.example"
username = "sales"
password_env = "PW"
deliver_to = "sales@corp.example"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pop3connector.toml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


def hosted(host: str) -> changing.Edit:
    return lambda text: with_changes(text, "sales", changes={"host": host})


def another(name: str) -> changing.Edit:
    values = {"name": name, "host": "h", "username": name, "password_env": "PW", "deliver_to": "a@corp.example"}
    return lambda text: with_account(text, values)


def aside(file: Path, password: str = "s3cret") -> PasswordAside:
    return PasswordAside(path=file.with_name("sales.password"), password=Secret(password))


def use_file(text: str) -> str:
    return with_changes(text, "sales", changes={"password_env": None, "password_file": "sales.password"})


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_the_change_is_in_the_file_and_in_the_settings(file: Path) -> None:
    settings = ConfigurationFile(file).change(hosted("pop.new.example"))
    assert settings.accounts[0].host == "pop.new.example"
    assert file.read_text() == TEXT.replace("pop.isp.example", "pop.new.example")
    assert names(file.parent) == {file.name}


def test_mode_and_owner_stay(file: Path) -> None:
    if os.geteuid() == 0:
        os.chown(file, 12345, 23456)
    before = file.stat()
    ConfigurationFile(file).change(hosted("pop.new.example"))
    after = file.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_of_a_symbolic_link_the_target_is_replaced(file: Path) -> None:
    """And relative paths still start where the link is, as they do for whoever reads it."""
    place = file.parent / "etc"
    place.mkdir()
    link = place / "linked.toml"
    link.symlink_to(Path("..") / file.name)
    (place / "ca.pem").write_text("")
    ConfigurationFile(link).change(lambda text: with_changes(text, "sales", changes={"ca_file": "ca.pem"}))
    assert link.is_symlink()
    assert 'ca_file = "ca.pem"' in file.read_text()


def test_it_is_synced_before_it_has_its_name_and_the_name_after(file: Path) -> None:
    disk = FaultyDisk()
    ConfigurationFile(file, disk=disk).change(hosted("pop.new.example"))
    assert disk.steps == [
        f"unlink {file.name}.tmp",
        f"create {file.name}.tmp",
        f"write {file.name}.tmp",
        f"sync {file.name}.tmp",
        f"rename {file.name}.tmp {file.name}",
        f"sync {file.parent.name}/",
    ]


def test_what_is_not_valid_is_refused_with_all_its_problems(file: Path) -> None:
    def edit(text: str) -> str:
        return with_changes(text, "sales", changes={"host": "no host", "port": 0})

    with pytest.raises(ConfigurationError) as refused:
        ConfigurationFile(file).change(edit)
    assert refused.value.problems == (
        'accounts[0].host: "no host" is not a host name or IP address (account "sales")',
        'accounts[0].port: must be at least 1, not 0 (account "sales")',
    )
    assert (file.read_text(), names(file.parent)) == (TEXT, {file.name})


def test_a_file_that_gets_a_password_is_not_for_others_any_more(file: Path) -> None:
    """What is there already and may be read is refused, as everywhere: the password has been read by now."""
    ConfigurationFile(file).change(
        lambda text: with_changes(text, "sales", changes={"password_env": None, "password": "s3cret"})
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_where_nothing_changes_nothing_is_written(file: Path) -> None:
    before = file.stat()
    ConfigurationFile(file).change(hosted("pop.isp.example"))
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_that_is_not_there_is_made_for_nobody_else(tmp_path: Path) -> None:
    file = tmp_path / "new" / "pop3connector.toml"
    ConfigurationFile(file).change(lambda text: with_account(text or "# ours\n", {**_sales(), "port": 110}))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith("# ours\n\n[[accounts]]\n")


def _sales() -> dict[str, str]:
    return {"name": "sales", "host": "h", "username": "u", "password_env": "PW", "deliver_to": "a@corp.example"}


@pytest.mark.parametrize("step", range(1, 6))
def test_a_step_that_fails_leaves_the_file_as_it_was(file: Path, step: int) -> None:
    disk = FaultyDisk()
    disk.fail(step, error=errno.ENOSPC)
    with pytest.raises(OSError, match="No space left on device") as failure:
        ConfigurationFile(file, disk=disk).change(hosted("pop.new.example"))
    assert failure.value.filename == str(file)
    assert (file.read_text(), names(file.parent)) == (TEXT, {file.name})


def test_where_the_name_cannot_be_made_durable_it_is_said(file: Path) -> None:
    disk = FaultyDisk()
    disk.fail(6)
    with pytest.raises(OSError, match="Input/output error"):
        ConfigurationFile(file, disk=disk).change(hosted("pop.new.example"))
    assert "pop.new.example" in file.read_text()


def test_a_new_password_is_in_its_file_before_the_configuration_names_it(file: Path) -> None:
    disk = FaultyDisk()
    ConfigurationFile(file, disk=disk).change(use_file, aside=aside(file))
    renames = [step for step in disk.steps if step.startswith("rename")]
    assert renames == ["rename sales.password.tmp sales.password", f"rename {file.name}.tmp {file.name}"]
    password = file.with_name("sales.password")
    assert (password.read_text(), stat.S_IMODE(password.stat().st_mode)) == ("s3cret\n", 0o600)


@pytest.mark.parametrize("step", range(1, 12))
def test_a_password_of_an_account_that_came_to_nothing_is_gone_again(file: Path, step: int) -> None:
    disk = FaultyDisk()
    disk.fail(step, error=errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        ConfigurationFile(file, disk=disk).change(use_file, aside=aside(file))
    assert (file.read_text(), names(file.parent)) == (TEXT, {file.name})


def test_a_password_of_an_account_that_is_refused_is_gone_again(file: Path) -> None:
    with pytest.raises(ConfigurationError):
        ConfigurationFile(file).change(hosted("no host"), aside=aside(file))
    assert names(file.parent) == {file.name}


def test_a_password_that_changes_replaces_the_one_before(file: Path) -> None:
    configuration = ConfigurationFile(file)
    configuration.change(use_file, aside=aside(file))
    before = file.read_text()
    configuration.change(lambda text: text, aside=aside(file, "an0ther"))
    assert (file.with_name("sales.password").read_text(), file.read_text()) == ("an0ther\n", before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_new_files_belong_to_whom_they_are_for(tmp_path: Path) -> None:
    file = tmp_path / "pop3connector.toml"
    values = {**_sales(), "password_file": "sales.password"}
    del values["password_env"]
    ConfigurationFile(file, owner=(12345, 23456)).change(lambda text: with_account(text, values), aside=aside(file))
    for path in (file, file.with_name("sales.password")):
        assert (path.stat().st_uid, path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (12345, 23456, 0o600)


def test_commands_take_turns_and_none_loses_what_another_wrote(file: Path) -> None:
    threads = [
        threading.Thread(target=ConfigurationFile(file).change, args=(another(f"account-{number}"),))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = file.read_text()
    assert [written.count(f'\nname = "account-{number}"') for number in range(8)] == [1] * 8


def test_a_command_that_does_not_end_keeps_nobody_waiting_for_ever(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "LOCK_SECONDS", 0.1)

    def edit(text: str) -> str:
        with pytest.raises(OSError, match="another command is changing the configuration"):
            ConfigurationFile(file).change(hosted("pop.new.example"))
        return text

    ConfigurationFile(file).change(edit)
    assert file.read_text() == TEXT


def test_what_an_editor_wrote_in_between_is_kept(file: Path) -> None:
    """An editor takes no lock: its file is another one, and the change is made to that."""
    turns = []

    def edit(text: str) -> str:
        turns.append(text)
        if len(turns) == 1:
            other = file.with_name("written-by-an-editor")
            other.write_text("# by hand\n" + text)
            other.rename(file)
        return hosted("pop.new.example")(text)

    ConfigurationFile(file).change(edit)
    assert file.read_text() == "# by hand\n" + TEXT.replace("pop.isp.example", "pop.new.example")
    assert names(file.parent) == {file.name}


def test_a_file_that_changes_all_the_time_is_left_to_who_changes_it(file: Path) -> None:
    def edit(text: str) -> str:
        file.write_text(f"# again\n{text}")
        return hosted("pop.new.example")(text)

    with pytest.raises(ConfigurationError, match="being changed by somebody else"):
        ConfigurationFile(file).change(edit)
    assert "pop.new.example" not in file.read_text()
    assert names(file.parent) == {file.name}


def test_a_file_that_appears_where_none_was_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "pop3connector.toml"

    def edit(text: str) -> str:
        if not text:
            file.write_text(TEXT)
        return another("info")(text)

    ConfigurationFile(file).change(edit)
    assert 'name = "sales"' in file.read_text()


def test_text_that_is_not_utf8_is_one_line(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        ConfigurationFile(file).change(hosted("\udcff"))
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        ConfigurationFile(file).change(hosted("h"))
