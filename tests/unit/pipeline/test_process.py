"""One stage as this process, and the exit code that it ends with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.process import run_stage_process
from spool.errors import SpoolFailed
from spool.layout import Layout, Stage
from spool.locks import hold
from spool.opening import open_spool
from stages.runner import Mode, Outcome, Runtime
from stages.settings import Settings
from tests.support.fake_stages import FakeStage, Work
from tests.support.processes import run
from tests.support.settings import default_settings

ENDPOINTS = "token_endpoint = 'https://l.example/t'\ndevice_endpoint = 'https://l.example/d'"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return default_settings(tmp_path / "spool")


def run_fake(settings: Settings, work: Work | None = None, *, mode: Mode = Mode.ONCE) -> int:
    return run_stage_process(Stage.FETCH, settings, mode=mode, make_work=lambda _: FakeStage(work))


def incomplete(_: Runtime) -> Outcome:
    return Outcome(is_complete=False)


@pytest.mark.parametrize("mode", [Mode.ONCE, Mode.DRAIN])
def test_a_round_that_left_something_undone_is_a_temporary_failure(settings: Settings, mode: Mode) -> None:
    assert run_fake(settings, incomplete, mode=mode) == 75


def test_a_whole_round_is_a_success(settings: Settings) -> None:
    assert run_fake(settings) == 0


def test_a_held_stage_is_refused_with_the_pid_of_its_holder(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    open_spool(settings.spool.directory).close()
    with hold(Layout(settings.spool.directory), Stage.FETCH):
        assert run_fake(settings) == 75
    assert "fetch is held by process" in capsys.readouterr().err


def test_a_failed_disk_is_an_input_output_error(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    def work(_: Runtime) -> Outcome:
        raise SpoolFailed("journal: No space left on device")

    assert run_fake(settings, work) == 74
    assert capsys.readouterr().err == "pop3connector: journal: No space left on device\n"


def test_a_bug_is_one_line_and_a_traceback_in_the_logs(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    def work(_: Runtime) -> Outcome:
        raise ZeroDivisionError("octets")

    assert run_fake(settings, work) == 70
    assert capsys.readouterr().err.count("\n") == 1
    assert "ZeroDivisionError: octets" in (Layout(settings.spool.directory).logs / "crash-fetch.log").read_text()


def test_a_stage_that_failed_gives_its_lock_back(settings: Settings) -> None:
    def work(_: Runtime) -> Outcome:
        raise ZeroDivisionError("octets")

    run_fake(settings, work)
    assert run_fake(settings) == 0


@pytest.mark.parametrize(
    ("oauth2", "loaded"), [("", False), ("token_command = 'x'", False), ("client_id = 'us'\n" + ENDPOINTS, True)]
)
def test_what_gets_tokens_is_loaded_before_a_stage_is_forked_and_only_for_who_needs_it(
    tmp_path: Path, oauth2: str, loaded: bool
) -> None:
    """A fetch process that is started again after an upgrade must be of one piece."""
    file = tmp_path / "pop3connector.toml"
    secret = f"[accounts.oauth2]\n{oauth2}" if oauth2 else "password = 'p'"
    file.write_text(f"[[accounts]]\nname = 'a'\nhost = 'h'\nusername = 'a'\ndeliver_to = 'a@b.example'\n{secret}")
    file.chmod(0o600)
    code = (
        "import sys; from pathlib import Path; from pipeline.config import load; from pipeline.process import "
        "import_stages; import_stages(load(Path(sys.argv[1]), {})); print('oauthlib' in sys.modules)"
    )
    done = run([sys.executable, "-c", code, str(file)])
    assert (done.stdout, done.stderr) == (f"{loaded}\n", "")
