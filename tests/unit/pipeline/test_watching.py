"""When a changed configuration file is read, and what comes of it. Time is moved by hand, the file is real."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.events import ConfigurationRefused
from pipeline.watching import (
    AGAIN_SECONDS,
    LOOK_SECONDS,
    SETTLE_SECONDS,
    Accepted,
    Refused,
    Watch,
    event_of,
    hearing_hangups,
    stamp_of,
)
from stages.settings import Settings

FOUR = '[spool]\ndirectory = "spool"\n[smtp]\nconnections = 4\n'
SEVEN = FOUR.replace("4", "7")
NINE = FOUR.replace("4", "9")


class Bench:
    """A watch over a file, and the time that passes for it."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "pop3connector.toml"
        self.file.write_text(FOUR)
        self.seconds = 100.0
        self.watch = Watch(self.file, self.settings(), monotonic=lambda: self.seconds)

    def settings(self) -> Settings:
        return load(self.file, os.environ)

    def look_after(self, seconds: float) -> Accepted | Refused | None:
        self.seconds += seconds
        return self.watch.look()

    def settle(self) -> Accepted | Refused | None:
        """What comes of a change: nothing when it is seen, its outcome when it has settled."""
        assert self.look_after(LOOK_SECONDS) is None
        return self.look_after(SETTLE_SECONDS)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A file that has been read and judged."""
    bench = Bench(tmp_path)
    assert bench.settle() is None
    return bench


def accepted(news: Accepted | Refused | None) -> int:
    assert isinstance(news, Accepted), news
    return news.settings.smtp.connections


def refused(news: Accepted | Refused | None) -> str:
    assert isinstance(news, Refused), news
    return "\n".join(news.problems)


def replace_file(file: Path, content: str) -> None:
    """As editors do."""
    new = file.with_suffix(".new")
    new.write_text(content)
    os.replace(new, file)


def test_what_was_changed_between_the_start_and_the_first_look_is_found(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.file.write_text(SEVEN)
    assert accepted(bench.settle()) == 7


@pytest.mark.parametrize("write", [replace_file, Path.write_text], ids=["by rename", "in place"])
def test_a_changed_file_is_in_force_when_it_has_been_the_same_for_a_second(
    bench: Bench, write: Callable[[Path, str], object]
) -> None:
    write(bench.file, SEVEN)
    news = bench.settle()
    assert accepted(news) == 7
    assert isinstance(news, Accepted)
    assert news.changes == "[smtp] connections"
    assert bench.look_after(3600) is None


def test_a_turned_symbolic_link_above_the_file_is_a_change(tmp_path: Path) -> None:
    """Kubernetes mounts a ConfigMap so: the file is a link to `..data/`, which is turned to a new directory."""
    for name, content in (("one", FOUR), ("two", SEVEN)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pop3connector.toml").write_text(content)
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "mount").mkdir()
    file = tmp_path / "mount" / "pop3connector.toml"
    file.symlink_to("../data/pop3connector.toml")
    seconds = iter([100.0, 101.0, 103.0, 105.0, 107.0, 109.0])
    watch = Watch(file, load(file, os.environ), monotonic=lambda: next(seconds))
    # Its spool is named relative to the link, not to what that leads to.
    assert [watch.look(), watch.look()] == [None, None]
    (tmp_path / "turned").symlink_to("two")
    os.replace(tmp_path / "turned", tmp_path / "data")
    assert watch.look() is None
    assert accepted(watch.look()) == 7


def test_a_file_that_is_still_being_written_is_left_alone(bench: Bench) -> None:
    """Half a file may be wrong, and may be right."""
    for size in range(1, len(SEVEN), 10):
        bench.file.write_text(SEVEN[:size])
        assert bench.look_after(SETTLE_SECONDS * 0.9) is None
    bench.file.write_text(SEVEN)
    assert accepted(bench.settle()) == 7


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    contents = iter([NINE])

    def stamp(file: Path) -> object:
        found = stamp_of(file)
        if bench.seconds == 104.0:
            file.write_text(next(contents, NINE))
        return found

    bench.watch = Watch(bench.file, bench.settings(), stamp=stamp, monotonic=lambda: bench.seconds)  # type: ignore[arg-type]
    bench.file.write_text("nonsense")
    assert bench.look_after(3) is None
    assert bench.look_after(1) is None, "refused what is not there any more"
    assert accepted(bench.settle()) == 9


def test_a_wrong_file_is_refused_with_all_its_problems_and_the_old_settings_stay(bench: Bench) -> None:
    bench.file.write_text(FOUR + "port = 0\ncolour = 'red'\n")
    text = refused(bench.settle())
    assert "smtp.port" in text
    assert "smtp.colour" in text
    assert bench.watch.settings.smtp.connections == 4


def test_a_refusal_is_told_once_until_the_file_changes(bench: Bench) -> None:
    bench.file.write_text("nonsense")
    assert refused(bench.settle())
    bench.watch.ask()
    assert bench.look_after(0) is None
    assert bench.look_after(3600) is None
    bench.file.write_text("nonsense ")
    assert refused(bench.settle())


def test_a_file_that_is_gone_is_refused_and_one_that_comes_back_is_read(bench: Bench) -> None:
    bench.file.unlink()
    assert "No such file" in refused(bench.settle())
    bench.file.write_text(SEVEN)
    assert accepted(bench.settle()) == 7


def test_an_empty_file_is_not_taken_for_the_removal_of_all_accounts(bench: Bench) -> None:
    """So an editor leaves it on a full disk; as TOML it is right."""
    bench.file.write_bytes(b"")
    assert refused(bench.settle()) == f"{bench.file} is empty"


def test_a_file_that_became_right_by_its_mode_alone_is_read_again(bench: Bench) -> None:
    secret = SEVEN + 'username = "u"\npassword = "p"\n'
    bench.file.write_text(secret)
    bench.file.chmod(0o644)
    assert f"chmod 600 {bench.file}" in refused(bench.settle())
    bench.file.chmod(0o600)
    assert accepted(bench.settle()) == 7


def test_a_refused_file_is_read_again_now_and_then_because_of_the_files_that_it_names(bench: Bench) -> None:
    """A password file may come later than the configuration that names it."""
    bench.file.write_text(SEVEN + 'username = "u"\npassword_file = "relay.password"\n')
    assert "relay.password" in refused(bench.settle())
    (bench.file.parent / "relay.password").write_text("p\n")
    (bench.file.parent / "relay.password").chmod(0o600)
    assert bench.look_after(AGAIN_SECONDS - 1) is None
    assert accepted(bench.look_after(1)) == 7


def test_a_file_that_names_another_spool_is_refused_whole(bench: Bench) -> None:
    bench.file.write_text(SEVEN.replace('"spool"', '"/elsewhere"'))
    assert refused(bench.settle()) == (
        "spool.directory: /elsewhere is another spool; stop and start again to change to it"
    )
    assert bench.watch.settings.smtp.connections == 4


def test_a_file_that_is_as_it_was_before_its_refusal_is_told_to_be_right(bench: Bench) -> None:
    bench.file.write_text("nonsense")
    assert refused(bench.settle())
    bench.file.write_text(FOUR)
    assert accepted(bench.settle()) == 4
    bench.file.write_text(FOUR + "# a comment\n")
    assert bench.settle() is None


def test_whoever_asks_need_not_wait(bench: Bench) -> None:
    bench.file.write_text(SEVEN)
    bench.watch.ask()
    assert accepted(bench.look_after(0)) == 7
    for _ in range(20):
        bench.watch.ask()
        assert bench.look_after(0) is None


def test_a_pipe_is_read_once_and_never_again(tmp_path: Path) -> None:
    """`--config <(...)`: what was in it is gone, and opening it would wait for ever."""
    bench = Bench(tmp_path)
    bench.file.unlink()
    os.mkfifo(bench.file)
    assert bench.settle() is None
    bench.watch.ask()
    assert refused(bench.look_after(0)) == f"{bench.file} is not a file that can be read again"


def test_it_looks_sooner_while_something_settles(bench: Bench) -> None:
    assert bench.watch.seconds == LOOK_SECONDS
    bench.file.write_text(SEVEN)
    bench.look_after(LOOK_SECONDS)
    assert bench.watch.seconds == SETTLE_SECONDS


def test_an_event_tells_the_first_problems_and_how_many_more_there_are() -> None:
    event = event_of(Refused(problems=tuple(f"accounts[{n}].port: {'x' * 300}" for n in range(500))), process="run")
    assert isinstance(event, ConfigurationRefused)
    assert event.problems.endswith("; and 490 more, which `pop3connector check` tells")
    assert len(event.problems) < 2500


def test_sighup_is_heard_in_the_loop_and_is_afterwards_what_it_was(tmp_path: Path) -> None:
    async def run() -> None:
        heard = asyncio.Event()
        with hearing_hangups(heard.set):
            os.kill(os.getpid(), signal.SIGHUP)
            async with asyncio.timeout(10):
                await heard.wait()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        asyncio.run(run())
    finally:
        signal.signal(signal.SIGHUP, before or signal.SIG_DFL)
