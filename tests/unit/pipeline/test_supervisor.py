"""The supervisor over four stage processes, which are forked for real and do nothing but what a test needs.

The children tell the supervisor when to stop, so that nothing here waits for a time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.process import run_stage_process
from pipeline.supervisor import supervise
from pipeline.watching import Watch
from spool import queries
from spool.errors import IndexLost, SpoolUnusable, StageHeld
from spool.events import LoggedEvent
from spool.layout import Layout, Stage
from spool.locks import RUN, hold, hold_all_stages
from spool.opening import open_spool
from spool.queries import open_for_reading
from stages.runner import Follow, Mode, Outcome, Runtime
from stages.settings import Settings
from tests.support.fake_stages import FakeMain
from tests.support.processes import wait_until
from tests.support.settings import default_settings

DONE = Outcome(is_complete=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return default_settings(tmp_path / "spool")


def stop_supervisor(_: Runtime) -> Outcome:
    os.kill(os.getppid(), signal.SIGTERM)
    return DONE


def lives(settings: Settings) -> int:
    """Count this life of the calling process."""
    book = settings.spool.directory / "lives"
    with book.open("a") as file:
        file.write(".")
    return len(book.read_text())


def write(settings: Settings, *, connections: int | str) -> Path:
    """The configuration file of these settings, replaced as an editor does."""
    file = settings.spool.directory.parent / "pop3connector.toml"
    new = file.with_suffix(".new")
    new.write_text(f'[spool]\ndirectory = "{settings.spool.directory}"\n[smtp]\nconnections = {connections}\n')
    os.replace(new, file)
    return file


class RenewedStage:
    """A stage that renews the file at its start, and ends the run when it works by what is there then."""

    def __init__(self, directory: Path, *, first: Callable[[], object], wanted: int) -> None:
        self._directory = directory
        self._first = first
        self._wanted = wanted

    def begin(self, runtime: Runtime) -> None:
        (self._directory / f"{runtime.tenure.stage}.pid").write_text(str(os.getpid()))

    async def work(self, runtime: Runtime) -> Outcome:
        if runtime.tenure.stage is Stage.SUBMIT:
            self._first()
        while runtime.settings.smtp.connections != self._wanted and not runtime.stopping.is_set():
            await runtime.wait(None)
        (self._directory / f"{runtime.tenure.stage}.renewed").write_text(str(os.getpid()))
        if len(list(self._directory.glob("*.renewed"))) == len(Stage):
            os.kill(os.getppid(), signal.SIGTERM)
        await runtime.stopping.wait()
        return DONE

    def end(self, _: Runtime) -> None:
        pass


def supervise_renewed(settings: Settings, first: Callable[[], object], *, wanted: int) -> int:
    """Run until all stages have got so many connections."""
    file = write(settings, connections=4)
    made = RenewedStage(file.parent, first=first, wanted=wanted)

    def main(stage: Stage, settings: Settings, *, mode: Mode, lifeline: int, follow: Follow | None) -> int:
        return run_stage_process(stage, settings, mode=mode, lifeline=lifeline, follow=follow, make_work=lambda _: made)

    return supervise(settings, main=main, watch=Watch(file, load(file, os.environ)))


def test_what_is_changed_and_right_reaches_every_stage_that_runs(settings: Settings, tmp_path: Path) -> None:
    assert supervise_renewed(settings, lambda: write(settings, connections=7), wanted=7) == 0
    for stage in Stage:
        assert (tmp_path / f"{stage}.renewed").read_text() == (tmp_path / f"{stage}.pid").read_text()
    told = [event.text for event in events(settings) if event.name == "ConfigurationReloaded"]
    assert told == ["run works by the changed configuration: [smtp] connections"]


def test_what_is_wrong_is_told_and_reaches_nobody(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    def be_wrong_first() -> None:
        write(settings, connections='"many"')
        os.kill(os.getppid(), signal.SIGHUP)
        wait_until(lambda: [event for event in events(settings) if event.name == "ConfigurationRefused"], "refused")
        write(settings, connections=7)

    assert supervise_renewed(settings, be_wrong_first, wanted=7) == 0
    (refused,) = [event for event in events(settings) if event.name == "ConfigurationRefused"]
    assert refused.level.word == "error"
    assert "smtp.connections: must be an integer" in refused.text
    assert refused.text in capfd.readouterr().err


def test_a_stage_that_is_started_again_has_the_settings_of_now(settings: Settings) -> None:
    def die_after_the_change() -> None:
        if lives(settings) > 1:
            return
        write(settings, connections=7)
        os.kill(os.getppid(), signal.SIGHUP)
        wait_until(lambda: [event for event in events(settings) if event.name == "ConfigurationReloaded"], "reloaded")
        os.kill(os.getpid(), signal.SIGKILL)

    assert supervise_renewed(settings, die_after_the_change, wanted=7) == 0
    assert lives(settings) == 3


def test_a_storm_of_hangups_ends_neither_the_supervisor_nor_a_stage(settings: Settings) -> None:
    def storm() -> None:
        for pid in [os.getppid(), os.getpid()] * 20:
            os.kill(pid, signal.SIGHUP)
        write(settings, connections=7)

    assert supervise_renewed(settings, storm, wanted=7) == 0
    assert [event.name for event in events(settings)].count("ConfigurationReloaded") == 1
    assert not [event for event in events(settings) if event.name == "StageDied"]


def test_sighup_means_what_it_meant_before_when_the_run_has_ended(settings: Settings) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        supervise(settings, main=FakeMain(submit=stop_supervisor))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def events(settings: Settings) -> Sequence[LoggedEvent]:
    spool = open_for_reading(settings.spool.directory)
    try:
        return queries.events(spool)
    finally:
        spool.close()


def test_sigterm_stops_all_stages_and_is_a_success(settings: Settings) -> None:
    assert supervise(settings, main=FakeMain(submit=stop_supervisor)) == 0
    spool = open_for_reading(settings.spool.directory)
    try:
        assert [record.is_running for record in queries.stage_records(spool)] == [False] * 4
    finally:
        spool.close()


def test_ctrl_c_stops_all_stages_and_is_a_success(settings: Settings) -> None:
    def interrupt(_: Runtime) -> Outcome:
        os.kill(os.getppid(), signal.SIGINT)
        return DONE

    assert supervise(settings, main=FakeMain(submit=interrupt)) == 0


def test_signals_work_as_before_when_the_run_has_ended(settings: Settings) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    supervise(settings, main=FakeMain(submit=stop_supervisor))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_stage_that_is_killed_is_started_again(settings: Settings) -> None:
    def work(runtime: Runtime) -> Outcome:
        if lives(settings) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return stop_supervisor(runtime)

    assert supervise(settings, main=FakeMain(fetch=work)) == 0
    assert lives(settings) == 3


def test_a_death_and_the_new_start_are_events(settings: Settings) -> None:
    def work(runtime: Runtime) -> Outcome:
        if lives(settings) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return stop_supervisor(runtime)

    supervise(settings, main=FakeMain(fetch=work))
    died, restarted = [event for event in events(settings) if event.name in ("StageDied", "StageRestarted")]
    assert died.text == "fetch ended by itself (SIGKILL), starts again in 1 s"
    assert restarted.text.startswith("fetch started again as process ")
    assert (died.process, restarted.process) == ("run", "run")


def test_an_unusable_spool_ends_the_run_with_the_code_of_the_child(settings: Settings) -> None:
    def work(_: Runtime) -> Outcome:
        raise SpoolUnusable("the relay's certificate is nowhere")

    assert supervise(settings, main=FakeMain(submit=work)) == 78


def test_a_second_run_is_refused(settings: Settings) -> None:
    open_spool(settings.spool.directory).close()
    with hold(Layout(settings.spool.directory), RUN), pytest.raises(StageHeld, match=f"process {os.getpid()}"):
        supervise(settings, main=FakeMain())


def test_nothing_starts_beside_a_stage_that_runs_already(settings: Settings) -> None:
    open_spool(settings.spool.directory).close()

    def main(*_: object, **__: object) -> int:
        raise AssertionError("started")

    with hold(Layout(settings.spool.directory), Stage.SUBMIT), pytest.raises(StageHeld, match="submit is held"):
        supervise(settings, main=main)


def test_a_lost_index_is_told_once_and_starts_nothing(settings: Settings) -> None:
    """Four children would say it four times."""
    layout = Layout(settings.spool.directory)
    open_spool(settings.spool.directory).close()
    (layout.badmail / "0.eml").write_bytes(b"\r\n")
    layout.index.write_bytes(b"")
    with pytest.raises(IndexLost):
        supervise(settings, main=FakeMain())


def test_a_stage_whose_supervisor_is_gone_stops_by_itself(settings: Settings, tmp_path: Path) -> None:
    """kill -9 of the supervisor: nobody is left who could send SIGTERM, and the locks must come free."""

    def work(runtime: Runtime) -> Outcome:
        (tmp_path / f"{runtime.tenure.stage}.pid").write_text(f"{os.getpid()} ")
        return DONE

    def pids() -> list[int]:
        return [int(path.read_text()) for path in tmp_path.glob("*.pid") if path.read_text().endswith(" ")]

    def are_free() -> bool:
        with suppress(StageHeld), hold_all_stages(Layout(settings.spool.directory)):
            return True
        return False

    supervisor = os.fork()
    if supervisor == 0:
        try:
            supervise(settings, main=FakeMain(**dict.fromkeys(Stage, work)))
        finally:
            os._exit(1)
    try:
        wait_until(lambda: len(pids()) == 4, "all stages work")
        os.kill(supervisor, signal.SIGKILL)
        os.waitpid(supervisor, 0)
        wait_until(are_free, "the stages have ended", timeout=10)
    finally:
        for pid in pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
