"""Whatever the operator, validate and submit do in whatever order, killed or not: index and files agree.

One message of two recipients lives through random steps. A killed step leaves what is on disk and not what the index
would have committed. After each life the spool is taken up again, once with its index, once without, and both must say
the same of the message; what was accepted is never sent again, and what was held or discarded is not tried again.
"""

from __future__ import annotations

import itertools
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spool.by_hand import change, finish_by_hand
from spool.claims import Outbox
from spool.disk import Disk
from spool.ended import Claim, GivenBack
from spool.errors import SpoolError
from spool.journal import Outcome
from spool.layout import Stage
from spool.opening import Spool, open_spool, require_current_index, take_stage
from spool.queue_id import QueueId
from spool.rebuild import rebuild
from spool.rows import Message
from spool.settlement import Verdict
from spool.states import State
from tests.support.attempts import A, B, answered, submitting
from tests.support.spools import Clock, arrival, make_ready, make_spool, message, passed, staging

_numbers = itertools.count()
ON_THE_WAY = {State.STAGED, State.READY, State.DEFERRED}


class KeepingDisk(Disk):
    """Removes nothing from Badmail while `keeps`: that comes after the commit which a killed step never made.

    Nothing is synced: a kill takes no page cache, and there are many lives.
    """

    keeps = False

    def sync_data(self, fd: int) -> None:
        """See above."""

    def sync_file(self, fd: int) -> None:
        """See above."""

    def sync_directory(self, path: Path) -> None:
        """See above."""

    def unlink(self, path: Path) -> bool:
        return False if self.keeps and path.parent.name == "Badmail" else super().unlink(path)


class Life:
    """The message and who works on it."""

    def __init__(self, directory: Path) -> None:
        self.disk = KeepingDisk()
        self.spool = make_spool(directory, disk=self.disk)
        (self.queue_id,) = make_ready(self.spool, arrival(), recipients=[A, B])
        self.deliveries: list[str] = []
        # What the operator said last and was answered; None where a kill left it open.
        self.word: Outcome | None = None
        self._stack = ExitStack()
        self._outbox: Outbox | None = None
        self._claim: Claim | None = None

    @property
    def row(self) -> Message:
        return message(self.spool, self.queue_id)

    def do(self, step: str) -> None:
        """Take a step; `x!` is killed before its commit."""
        name, is_killed = step.rstrip("!"), step.endswith("!")
        act = getattr(self, name)
        if not is_killed:
            act()
            return
        index = self.spool.layout.index
        kept = index.with_name("kept")
        self.spool.index.backup(kept)
        self.disk.keeps = True
        try:
            act()
        finally:
            self.stop()
            self.disk.keeps = False
        self.spool.close()
        self.word = None
        for suffix in ("", "-wal", "-shm"):
            index.with_name(index.name + suffix).unlink(missing_ok=True)
        kept.rename(index)
        self.spool = open_spool(self.spool.layout.root, disk=self.disk, now=Clock())

    def hold(self) -> None:
        self._decide(Outcome.HELD)

    def release(self) -> None:
        self._decide(Outcome.RELEASED)

    def requeue(self) -> None:
        self._decide(Outcome.REQUEUED)

    def discard(self) -> None:
        self._decide(Outcome.DISCARDED)

    def clear(self) -> None:
        """`badmail rm`."""
        change(self.spool, [self.queue_id], asked=Outcome.DISCARDED, is_badmail=True)

    def validate(self) -> None:
        finish_by_hand(self.spool)
        with take_stage(self.spool, Stage.VALIDATE) as tenure, staging(self.spool, tenure) as staged:
            staged.settle([replace(passed(one), recipients=one.recipients or (A, B)) for one in staged.waiting(10)])

    def claim(self) -> None:
        outbox = self._submit()
        if self._claim is None:
            claims = outbox.claim(1)
            self._claim = claims[0] if claims else None
            assert not claims or self.word not in (Outcome.HELD, Outcome.DISCARDED)

    def dot(self) -> None:
        if self._claim and self._outbox:
            self._outbox.dot(self._claim)

    def accept(self) -> None:
        self._answer(Verdict.ACCEPTED, Verdict.ACCEPTED)

    def refuse(self) -> None:
        self._answer(Verdict.REFUSED, Verdict.REFUSED)

    def postpone(self) -> None:
        self._answer(Verdict.POSTPONED, Verdict.POSTPONED)

    def divide(self) -> None:
        self._answer(Verdict.ACCEPTED, Verdict.REFUSED)

    def divide_and_go_on(self) -> None:
        self._answer(Verdict.POSTPONED, Verdict.REFUSED)

    def accept_one(self) -> None:
        self._answer(Verdict.ACCEPTED, Verdict.POSTPONED)

    def give_back(self) -> None:
        self._end(is_unknown=False)

    def lose(self) -> None:
        """The reply to the final dot never came."""
        self._end(is_unknown=True)

    def stop(self) -> None:
        """Submit dies, with its claim."""
        self._stack.close()
        self._outbox = self._claim = None

    def resume(self) -> None:
        self.stop()
        finish_by_hand(self.spool)
        self._submit()

    def _submit(self) -> Outbox:
        if self._outbox is None:
            self._outbox = self._stack.enter_context(submitting(self.spool))
        return self._outbox

    def _answer(self, *verdicts: Verdict) -> None:
        if self._claim is None or self._outbox is None:
            return
        claim, self._claim = self._claim, None
        said = verdicts[: len(claim.message.recipients)]
        self._outbox.dot(claim)
        settled = answered(self.spool, claim, *said)
        settled = replace(settled, next_attempt_at=self.spool.now())
        for recipient, verdict in zip(claim.message.recipients, said, strict=True):
            if verdict is Verdict.ACCEPTED:
                self.deliveries.append(recipient)
        self._outbox.note(settled)
        self._outbox.settle([settled])

    def _end(self, *, is_unknown: bool) -> None:
        if self._claim and self._outbox:
            claim, self._claim = self._claim, None
            if is_unknown:
                self._outbox.dot(claim)
            self._outbox.settle([GivenBack(claim=claim, breaks={}, outcome_unknown=is_unknown)])

    def _decide(self, asked: Outcome) -> None:
        (decision,) = change(self.spool, [self.queue_id], asked=asked)
        if not isinstance(decision.came_of_it, SpoolError):
            self.word = asked


EXAMPLES = 25
WORDS = ["hold", "release", "requeue", "discard", "clear"]
ENDS = ["accept", "refuse", "postpone", "divide", "divide_and_go_on", "accept_one", "give_back", "lose"]
STEPS = [
    *WORDS,
    *ENDS,
    *(f"{step}!" for step in [*WORDS, *ENDS]),
    *["claim"] * 8,
    *["dot", "stop", "resume", "resume", "validate", "validate"],
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lives")


@given(steps=st.lists(st.sampled_from(STEPS), max_size=14))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_index_and_files_say_the_same_of_a_message(directory: Path, steps: list[str]) -> None:
    place = directory / str(next(_numbers))
    place.mkdir()
    life = Life(place)
    try:
        for step in steps:
            life.do(step)
            require_current_index(life.spool)
            assert len(life.deliveries) == len(set(life.deliveries))
        life.stop()
        told, found = with_index(life, place / "a"), without_index(life, place / "b")
        assert told == found
    finally:
        life.stop()
        life.spool.close()
        shutil.rmtree(place)


def with_index(life: Life, copy: Path) -> tuple[object, ...]:
    """What becomes of it when the stages start again."""
    shutil.copytree(life.spool.layout.root, copy)
    spool = open_spool(copy, disk=KeepingDisk(), now=Clock())
    try:
        finish_by_hand(spool)
        with submitting(spool):
            pass
        return facts(spool, life.queue_id)
    finally:
        spool.close()


def without_index(life: Life, copy: Path) -> tuple[object, ...]:
    shutil.copytree(life.spool.layout.root, copy)
    for path in copy.glob("index.sqlite3*"):
        path.unlink()
    rebuild(copy, disk=KeepingDisk(), now=Clock())
    spool = open_spool(copy, disk=KeepingDisk(), now=Clock())
    try:
        return facts(spool, life.queue_id)
    finally:
        spool.close()


def facts(spool: Spool, queue_id: QueueId) -> tuple[object, ...]:
    row = message(spool, queue_id)
    state = "goes on" if row.state in ON_THE_WAY else row.state
    left = set(row.recipients) if row.accepted and row.state in ON_THE_WAY | {State.HELD} else None
    return state, [one["recipient"] for one in row.accepted], left, row.wish
