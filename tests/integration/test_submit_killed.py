"""The submit stage as a process of its own, killed at the worst moment: nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.demo.smtp_sink import Accepted, SmtpSink
from spool.opening import Spool, open_spool, utc_now
from spool.states import State
from stages.settings import Ambiguous
from tests.support.processes import ROOT
from tests.support.spools import letters, logged, make_ready
from tests.support.submit_stage import messages, relay_settings, submit_once

MESSAGES = 120
STAGE = """
import os, sys
from pathlib import Path
from pipeline.config import load
from spool.layout import Stage
from stages.runner import run_stage
from stages.submit.stage import SubmitStage
run_stage(Stage.SUBMIT, SubmitStage(), settings=load(Path(sys.argv[1]), os.environ))
"""


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = open_spool(tmp_path / "spool", now=utc_now)
    yield opened
    opened.close()


class DeadlySink(SmtpSink):
    """A sink that kills its client when it has its n-th message, which it keeps and never answers."""

    def __init__(self, deadly: int) -> None:
        super().__init__()
        self._deadly = deadly
        self.victim = 0

    def keep(self, message: Accepted) -> None:
        super().keep(message)
        if len(self.accepted) == self._deadly:
            os.kill(self.victim, signal.SIGKILL)


def queue_id_of(accepted: Accepted) -> str:
    return accepted.content.split(b" id ")[1].split()[0].decode()


def configure(config: Path, spool: Spool, *, port: int, connections: int) -> None:
    config.write_text(
        f"[spool]\ndirectory = '{spool.layout.root}'\n"
        f"[smtp]\nhost = '127.0.0.1'\nport = {port}\nconnections = {connections}\n"
    )


async def killed_and_restarted(
    spool: Spool, config: Path, *, deadly: int, connections: int, ambiguous: Ambiguous = Ambiguous.RESEND
) -> Counter[str]:
    """How often each message arrived, when the process is killed in the midst and another one goes on."""
    async with DeadlySink(deadly) as sink:
        configure(config, spool, port=sink.port, connections=connections)
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", STAGE, str(config), cwd=ROOT)
        sink.victim = process.pid
        assert await process.wait() == -signal.SIGKILL
        settings = relay_settings(spool.layout.root, sink.port, connections=connections)
        submit = replace(settings.submit, ambiguous=ambiguous)
        await submit_once(spool, replace(settings, submit=submit))
        return Counter(queue_id_of(accepted) for accepted in sink.accepted)


@pytest.mark.kill
@pytest.mark.parametrize("deadly", [1, 2, 65, 100])
@pytest.mark.parametrize("connections", [1, 4])
def test_a_killed_process_leaves_one_doubtful_message_a_connection(
    spool: Spool, tmp_path: Path, deadly: int, connections: int
) -> None:
    """What was in doubt is sent again and marked; all else arrives once."""
    ids = make_ready(spool, *letters(MESSAGES))
    config = tmp_path / "pop3connector.toml"
    arrivals = asyncio.run(killed_and_restarted(spool, config, deadly=deadly, connections=connections))
    assert {row.state for row in messages(spool, ids)} == {State.SUBMITTED}
    assert set(arrivals) == set(ids)
    twice = {queue_id for queue_id, count in arrivals.items() if count > 1}
    marked = {event.queue_id for event in logged(spool) if event.name == "PossibleDuplicate"}
    assert 1 <= len(twice) <= connections
    assert twice <= marked
    assert len(marked) <= connections


@pytest.mark.kill
@pytest.mark.parametrize("connections", [1, 4])
def test_what_is_in_doubt_is_held_where_that_is_wanted_and_all_else_arrives_once(
    spool: Spool, tmp_path: Path, connections: int
) -> None:
    ids = make_ready(spool, *letters(MESSAGES))
    config = tmp_path / "pop3connector.toml"
    arrivals = asyncio.run(
        killed_and_restarted(spool, config, deadly=65, connections=connections, ambiguous=Ambiguous.HOLD)
    )
    assert set(arrivals.values()) == {1}
    rows = messages(spool, ids)
    held = {row.queue_id for row in rows if row.state is State.HELD}
    assert 1 <= len(held) <= connections
    assert {row.state for row in rows if row.queue_id not in held} == {State.SUBMITTED}
    assert set(ids) - set(arrivals) <= held
    assert all(row.possible_duplicate for row in rows if row.queue_id in held)
