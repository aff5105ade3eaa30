"""Settlements: the journal line holds all that the rows will need."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from spool.disk import Disk
from spool.envelope import Reason
from spool.journal import Journal, Outcome, read_journal
from spool.rows import Message
from spool.settlement import Answer, Verdict, answers_of, from_line, journal_entry, settlement
from tests.support.spools import START, arrival, make_ready, make_spool, message

REASON = Reason(stage="submit", code=250, enhanced="2.0.0", text="ok")
KINDS = [kinds for count in (1, 2, 3) for kinds in itertools.product(Verdict, repeat=count)]


def answers(kinds: tuple[Verdict, ...]) -> list[Answer]:
    return [
        Answer(recipient=f"r{number}@corp.example", verdict=kind, reason=replace(REASON, text=f"to {number}"))
        for number, kind in enumerate(kinds)
    ]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Message:
    spool = make_spool(tmp_path_factory.mktemp("settlement"))
    return message(spool, make_ready(spool, arrival())[0])


@pytest.mark.parametrize("kinds", KINDS)
def test_a_settlement_is_read_back_from_its_line(tmp_path: Path, one: Message, kinds: tuple[Verdict, ...]) -> None:
    """A killed process has left nothing but the line."""
    settled = settlement(
        one,
        3,
        answers=answers(kinds),
        attempt_clock=77,
        next_attempt_at=START,
        has_expired=True,
        outcome_unknown=True,
    )
    journal = Journal(tmp_path / "j", disk=Disk(), now_ms=lambda: 0)
    outcome, details = journal_entry(settled)
    journal.note(outcome, one.queue_id, details=details)
    (line,) = read_journal(journal.path).lines
    assert from_line(one, line) == settled
    assert answers_of(line) == settled.answers


@pytest.mark.parametrize("kinds", KINDS)
def test_a_message_divides_where_some_are_refused_and_others_go_on(one: Message, kinds: tuple[Verdict, ...]) -> None:
    settled = settlement(one, 1, answers=answers(kinds), attempt_clock=0)
    assert (settled.child is not None) == (Verdict.REFUSED in kinds and set(kinds) != {Verdict.REFUSED})


@pytest.mark.parametrize("kinds", KINDS)
def test_the_line_says_submitted_only_where_everybody_accepted(one: Message, kinds: tuple[Verdict, ...]) -> None:
    """After the loss of the index a submitted message is done."""
    outcome, details = journal_entry(settlement(one, 1, answers=answers(kinds), attempt_clock=0))
    assert (outcome is Outcome.SUBMITTED) == (set(kinds) == {Verdict.ACCEPTED})
    assert (outcome is Outcome.MOVED) == (details["child"] is not None)
    assert json.dumps(details)
