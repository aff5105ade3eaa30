"""What an operator sees when something around the connector is wrong: one clear line, the exit code, no traceback."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pipeline.demo.background import serving
from pipeline.demo.mails import ordinary
from pipeline.demo.pop3_server import Pop3Server
from pipeline.demo.smtp_sink import SmtpSink
from spool.opening import open_spool
from tests.support.processes import command, free_port, run, running, wait_until

PASSWORD = "correct horse"


def configure(
    directory: Path, *, pop3_port: int, smtp_port: int, password: str = PASSWORD, spool: Path | None = None
) -> Path:
    """Write a configuration for the demonstration's servers."""
    file = directory / "pop3connector.toml"
    file.write_text(f"""
        [spool]
        directory = "{spool or directory / "spool"}"
        min_free_space = "1kB"
        [smtp]
        port = {smtp_port}
        [[accounts]]
        name = "sales"
        host = "127.0.0.1"
        port = {pop3_port}
        tls = "none"
        username = "sales"
        password = "{password}"
        deliver_to = "sales@corp.example"
    """)
    file.chmod(0o600)
    return file


def typed(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command; whatever it ends with, it prints no traceback and no password."""
    done = run(command("--config", file, *arguments))
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert PASSWORD not in said
    return done


def events(file: Path) -> str:
    return typed(file, "events").stdout


@pytest.fixture
def pop3() -> Iterator[Pop3Server]:
    with serving(Pop3Server({"sales": (PASSWORD, [ordinary()])})) as server:
        yield server


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with serving(SmtpSink()) as server:
        yield server


def test_a_wrong_configuration_is_78_and_every_problem_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "pop3connector.toml"
    file.write_text('[fetch]\ninterval = "1m"\n[smtp]\nprot = 25\n')
    done = typed(file, "run", "--drain")
    assert done.returncode == 78
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == ["smtp.prot", "fetch.interval"]


def test_a_missing_configuration_is_78(tmp_path: Path) -> None:
    done = typed(tmp_path / "none.toml", "run")
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)


def test_a_wrong_password_is_75_and_an_event_quotes_the_server(
    tmp_path: Path, pop3: Pop3Server, sink: SmtpSink
) -> None:
    file = configure(tmp_path, pop3_port=pop3.port, smtp_port=sink.port, password="wrong")
    assert typed(file, "run", "--drain").returncode == 75
    assert "wrong user name or password" in events(file)
    assert len(pop3.maildrop("sales")) == 1


def test_a_wrong_password_is_found_by_check(tmp_path: Path, pop3: Pop3Server, sink: SmtpSink) -> None:
    file = configure(tmp_path, pop3_port=pop3.port, smtp_port=sink.port, password="wrong")
    done = typed(file, "check", "--connect")
    assert done.returncode == 75
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert "account sales" in failed[0]
    assert "wrong user name or password" in failed[0]


def test_check_is_content_where_everything_answers(tmp_path: Path, pop3: Pop3Server, sink: SmtpSink) -> None:
    file = configure(tmp_path, pop3_port=pop3.port, smtp_port=sink.port)
    done = typed(file, "check", "--connect")
    assert (done.returncode, "1 messages" in done.stdout) == (0, True)


def test_an_unreachable_pop3_server_is_75(tmp_path: Path, sink: SmtpSink) -> None:
    file = configure(tmp_path, pop3_port=free_port(), smtp_port=sink.port)
    assert typed(file, "run", "--drain").returncode == 75
    assert "Connection refused" in events(file)


def test_an_unreachable_relay_is_75_and_the_mail_waits(tmp_path: Path, pop3: Pop3Server) -> None:
    file = configure(tmp_path, pop3_port=pop3.port, smtp_port=free_port())
    done = typed(file, "run", "--drain")
    assert (done.returncode, "still queued 1" in done.stdout) == (75, True)
    assert "Connection refused" in events(file)
    assert pop3.maildrop("sales") == []


def test_mail_that_waited_for_the_relay_leaves_with_the_next_drain(tmp_path: Path, pop3: Pop3Server) -> None:
    port = free_port()
    file = configure(tmp_path, pop3_port=pop3.port, smtp_port=port)
    typed(file, "run", "--drain")
    with serving(SmtpSink(port=port)) as sink:
        assert typed(file, "run", "--drain").returncode == 0
        assert len(sink.accepted) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("arguments", [("run", "--drain"), ("stage", "validate", "--once"), ("spool", "ls")])
def test_a_spool_of_another_user_is_77(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    file = configure(tmp_path, pop3_port=1, smtp_port=1)
    open_spool(tmp_path / "spool").close()
    os.chown(tmp_path / "spool", 12345, -1)
    done = typed(file, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (77, 1)


@pytest.mark.parametrize("arguments", [("run", "--drain"), ("stage", "validate", "--once"), ("spool", "ls")])
def test_a_spool_with_a_lost_index_is_74_and_says_what_to_do(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    file = configure(tmp_path, pop3_port=1, smtp_port=1)
    open_spool(tmp_path / "spool").close()
    (tmp_path / "spool/Badmail/000000000000000000.eml").write_bytes(b"\r\n")
    (tmp_path / "spool/index.sqlite3").write_bytes(b"")
    done = typed(file, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (74, 1)
    assert "spool rebuild" in done.stderr


@pytest.mark.parametrize("arguments", [("run", "--drain"), ("stage", "validate", "--once"), ("spool", "ls")])
def test_an_index_that_is_no_database_is_74(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    file = configure(tmp_path, pop3_port=1, smtp_port=1)
    open_spool(tmp_path / "spool").close()
    for path in (tmp_path / "spool").glob("index.sqlite3-*"):
        path.unlink()
    (tmp_path / "spool/index.sqlite3").write_bytes(b"not a database" * 1000)
    done = typed(file, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (74, 1)


@contextmanager
def small_disk(place: Path, *, octets: int) -> Iterator[Path]:
    """A file system of its own, or a plain skip where none can be mounted."""
    place.mkdir()
    mounted = run(["mount", "-t", "tmpfs", "-o", f"size={octets},mode=700", "tmpfs", str(place)])
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        assert run(["umount", str(place)]).returncode == 0


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_loses_nothing_and_says_so(tmp_path: Path, pop3: Pop3Server, sink: SmtpSink) -> None:
    with small_disk(tmp_path / "disk", octets=2 << 20) as disk:
        file = configure(tmp_path, pop3_port=pop3.port, smtp_port=sink.port, spool=disk / "spool")
        open_spool(disk / "spool").close()
        filling = disk / "filling"
        fill(filling)
        done = typed(file, "run", "--drain")
        assert (done.returncode, done.stderr.count("\n")) == (74, 1)
        assert "No space left on device" in done.stderr
        assert len(pop3.maildrop("sales")) == 1
        filling.unlink()
        assert typed(file, "run", "--drain").returncode == 0
        assert len(sink.accepted) == 1


def test_a_second_drain_beside_a_run_is_75_and_names_its_pid(tmp_path: Path, pop3: Pop3Server, sink: SmtpSink) -> None:
    file = configure(tmp_path, pop3_port=pop3.port, smtp_port=sink.port)
    with running(command("--config", file, "run")) as first:
        wait_until(lambda: sink.accepted, "the message is delivered")
        second = typed(file, "run", "--drain")
        assert (second.returncode, second.stderr) == (75, f"pop3connector: run is held by process {first.pid}\n")
        assert first.stop() == 0
