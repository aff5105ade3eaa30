"""Where a configuration is written, and how."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pipeline.config.saving import place_for, save

SECRET = '[[accounts]]\npassword = "s"\n'


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_nobodys_but_ours(tmp_path: Path) -> None:
    save(tmp_path / "new" / "x.toml", SECRET)
    assert ((tmp_path / "new" / "x.toml").read_text(), mode(tmp_path / "new" / "x.toml")) == (SECRET, 0o600)


@pytest.mark.parametrize(("text", "expected"), [("", 0o640), (SECRET, 0o600)])
def test_the_mode_stays_but_for_passwords(tmp_path: Path, text: str, expected: int) -> None:
    file = tmp_path / "x.toml"
    file.write_text("")
    file.chmod(0o640)
    save(file, text)
    assert mode(file) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("")
    os.chown(file, 12345, 12346)
    save(file, SECRET)
    assert (file.stat().st_uid, file.stat().st_gid, mode(file)) == (12345, 12346, 0o600)


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("")
    (tmp_path / "x.toml").symlink_to("real.toml")
    save(tmp_path / "x.toml", SECRET)
    assert ((tmp_path / "x.toml").is_symlink(), (tmp_path / "real.toml").read_text()) == (True, SECRET)


def test_the_file_that_counts_is_the_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_for(tmp_path / "x.toml", {}) == tmp_path / "x.toml"
    assert place_for(None, {"POP3CONNECTOR_CONFIG": "/y.toml"}) == Path("/y.toml")
    (tmp_path / "pop3connector.toml").write_text("")
    assert place_for(None, {}) == tmp_path / "pop3connector.toml"


def test_where_there_is_none_it_is_made_where_it_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert place_for(None, {"XDG_CONFIG_HOME": str(tmp_path)}) == Path("/etc/pop3connector/pop3connector.toml")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert place_for(None, {"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "pop3connector" / "pop3connector.toml"
    assert place_for(None, {"HOME": str(tmp_path)}) == tmp_path / ".config/pop3connector/pop3connector.toml"
