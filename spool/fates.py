"""Say what became of a message by its journal lines alone: what `spool rebuild` goes by when the index cannot be asked.

**Invariants:** pure; a message that the journals do not call finished goes on, so that a lost line means mail sent
twice, never mail lost; a recipient that was accepted is never among those that go on; a recipient that was refused goes
on unless the Badmail message that took it over is known. Lines of different journals have no common order: the
operator's stand in one, so his last word is known, and it ends the holds of submit by the claim that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spool.journal import Line, Outcome
from spool.models import from_ms
from spool.queue_id import QueueId
from spool.settlement import Verdict, accepted_json, answers_of
from spool.states import State
from spool.wishes import Word, operators_word

_ANSWERED = frozenset({Outcome.SUBMITTED, Outcome.RESULT, Outcome.MOVED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a message; STAGED where it goes on.

    `line` is the one that decided, None where the absence of any did. `recipients` are those that are left, empty where
    they are not known yet. `claim` is the highest number of a claim that a line names: later claims count on from it,
    or old lines would speak for them.
    """

    state: State
    line: Line | None = None
    recipients: tuple[str, ...] = ()
    accepted: tuple[Mapping[str, object], ...] = ()
    attempts: int = 0
    claim: int = 0
    is_possible_duplicate: bool = False
    replay_id: QueueId | None = None


def fate(lines: Sequence[Line], *, is_in_badmail: bool, is_known: Callable[[str], bool]) -> Fate:
    """Judge a message by its lines, those of each journal in order.

    `is_in_badmail`: there is a Badmail file of its name. `is_known` says of another queue id whether anything, a
    record, a file or a line, tells of it.
    """
    answered = [line for line in lines if line.outcome in _ANSWERED]
    left = _left(answered[-1], is_known) if answered else ()
    accepted = tuple(_accepted(answered))
    state, line = _decide(lines, is_in_badmail=is_in_badmail, is_known=is_known)
    if accepted and not left:
        state, line = State.SUBMITTED, answered[-1]
    return Fate(
        state=state,
        line=line,
        recipients=left,
        accepted=accepted,
        attempts=len(answered),
        claim=max(map(_claim, lines), default=0),
        is_possible_duplicate=_has_open_dot(lines) or any(line.details.get("unknown") for line in lines),
        replay_id=_child(line) if line and state is State.REPLAYED else None,
    )


def _decide(
    lines: Sequence[Line], *, is_in_badmail: bool, is_known: Callable[[str], bool]
) -> tuple[State, Line | None]:
    last = {line.outcome: line for line in lines}
    replayed, badmail = last.get(Outcome.REPLAYED), last.get(Outcome.BADMAIL)
    # The replay was made durable before this line, and the Badmail file goes after it: one of the two must be there.
    if replayed and (not is_in_badmail or is_known(_child(replayed) or "")):
        return State.REPLAYED, replayed
    word, said = _last_word(lines)
    # A discard that he took back had not taken effect: nothing can be said of a message that is finished.
    discarded = said if word and word.outcome is Outcome.DISCARDED else None
    discarded = next((line for line in lines if _is_end(line)), discarded)
    if discarded:
        return State.DISCARDED, discarded
    if is_in_badmail:
        return State.BADMAIL, badmail
    if badmail:
        return State.DISCARDED, badmail
    by_submit = (line for line in lines if line.outcome is Outcome.HELD and operators_word(line) is None)
    held = max(by_submit, key=_claim, default=None)
    if held and (word is None or _claim(held) > word.ended_claim):
        return State.HELD, held
    if word and word.outcome is Outcome.HELD:
        return State.HELD, said
    return State.STAGED, None


def _last_word(lines: Sequence[Line]) -> tuple[Word | None, Line | None]:
    """What the operator said last, and where it stands."""
    for line in reversed(lines):
        if word := operators_word(line):
            return word, line
    return None, None


def _is_end(line: Line) -> bool:
    """Whether a stage says that it discarded the message."""
    return line.outcome is Outcome.DISCARDED and operators_word(line) is None


def _left(line: Line, is_known: Callable[[str], bool]) -> tuple[str, ...]:
    """The recipients that the last answers leave to be sent to."""
    child = _child(line)
    goes_on = {Verdict.POSTPONED} if child and is_known(child) else {Verdict.POSTPONED, Verdict.REFUSED}
    return tuple(answer.recipient for answer in answers_of(line) if answer.verdict in goes_on)


def _accepted(answered: Sequence[Line]) -> list[dict[str, object]]:
    return [
        accepted_json(answer, from_ms(line.at))
        for line in answered
        for answer in answers_of(line)
        if answer.verdict is Verdict.ACCEPTED
    ]


def _has_open_dot(lines: Sequence[Line]) -> bool:
    """True where a final dot was about to leave and no line tells what came of it."""
    answered = {_claim(line) for line in lines if line.outcome in _ANSWERED}
    return any(_claim(line) not in answered for line in lines if line.outcome is Outcome.DOT)


def _claim(line: Line) -> int:
    number = line.details.get("claim")
    return number if isinstance(number, int) else 0


def _child(line: Line) -> QueueId | None:
    child = line.details.get("child")
    return QueueId(child) if isinstance(child, str) else None
