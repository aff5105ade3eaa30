"""The verdict on a transaction becomes the end of its claim: nothing decided is lost, nothing undecided is charged."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from spool.ended import Claim, GivenBack
from spool.envelope import Reason
from spool.settlement import Settlement
from spool.settlement import Verdict as Ruling
from stages.smtp.replies import Reply
from stages.submit.conclusion import Again, Circumstances, breaks_of, conclude
from stages.submit.retry import RetryPolicy
from stages.submit.verdict import (
    Accepted,
    Course,
    Outcome,
    Postponed,
    Refused,
    SenderRefused,
    Untouched,
    Verdict,
)
from tests.support.submit_stage import claim

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RetryPolicy(initial=timedelta(minutes=1), longest=timedelta(hours=1), lifetime=timedelta(days=5))
AROUND = Circumstances(now=NOW, open_clock=1000, opened_at=NOW - timedelta(days=9), acceptances=7, epoch=3)
WHY = Reason(stage="submit", code=421, text="final dot: busy")
ACCEPTED = Accepted(reply=Reply(code=250, enhanced=None, text="ok", lines=(b"ok",)))
POSTPONED = Postponed(reason=replace(WHY, code=451))
REFUSED = Refused(reason=replace(WHY, code=550))
UNTOUCHED = Untouched(reason=WHY)
SENDER_REFUSED = SenderRefused(reason=replace(WHY, code=501))


def verdict(
    *outcomes: Outcome, course: Course = Course.GO_ON, is_break: bool = False, is_ambiguous: bool = False
) -> Verdict:
    return Verdict(outcomes=outcomes, course=course, reason=WHY, is_break=is_break, is_ambiguous=is_ambiguous)


def concluded(one: Claim, judged: Verdict, *, around: Circumstances = AROUND) -> Settlement | GivenBack | Again:
    return conclude(one, judged, around=around, policy=POLICY, uniform=lambda low, _: low)


def rulings(ended: Settlement | GivenBack | Again) -> list[Ruling]:
    assert isinstance(ended, Settlement)
    return [answer.verdict for answer in ended.answers]


def given_back(ended: Settlement | GivenBack | Again) -> GivenBack:
    assert isinstance(ended, GivenBack)
    return ended


def test_each_recipient_gets_its_own_answer() -> None:
    ended = concluded(claim("a@x", "b@x", "c@x"), verdict(ACCEPTED, POSTPONED, REFUSED))
    assert rulings(ended) == [Ruling.ACCEPTED, Ruling.POSTPONED, Ruling.REFUSED]


def test_a_postponed_message_is_due_when_the_policy_says() -> None:
    ended = concluded(claim(), verdict(POSTPONED))
    assert isinstance(ended, Settlement)
    assert ended.next_attempt_at == NOW + POLICY.initial


def test_acceptance_is_kept_where_another_recipient_is_undecided() -> None:
    """It must never be sent to again; the other goes on at once."""
    ended = concluded(claim("a@x", "b@x"), verdict(ACCEPTED, UNTOUCHED, course=Course.PAUSE))
    assert rulings(ended) == [Ruling.ACCEPTED, Ruling.POSTPONED]
    assert isinstance(ended, Settlement)
    assert ended.next_attempt_at == NOW


def test_a_refused_recipient_is_not_asked_for_again_after_a_cut() -> None:
    """A relay that hangs up after each refusal would otherwise get the same transaction for ever."""
    ended = concluded(claim("a@x", "b@x"), verdict(UNTOUCHED, REFUSED, course=Course.FRESH_SESSION))
    assert rulings(ended) == [Ruling.POSTPONED, Ruling.REFUSED]


def test_a_spent_session_costs_the_message_nothing() -> None:
    assert concluded(claim(), verdict(UNTOUCHED, course=Course.FRESH_SESSION)) == Again()


def test_a_refused_sender_is_tried_again_with_the_null_path() -> None:
    assert concluded(claim(), verdict(SENDER_REFUSED)) == Again(reason=SENDER_REFUSED.reason)


def test_trouble_sends_the_message_behind_all_that_are_due() -> None:
    ended = given_back(concluded(claim(), verdict(UNTOUCHED, course=Course.PAUSE)))
    assert ended.next_attempt_at == NOW


def test_a_full_relay_blames_no_message_however_often() -> None:
    """452 4.3.1 at MAIL: temporary, and never a reason for Badmail."""
    worn = claim(breaks={"count": 2, "acceptances": 1, "epoch": 3})
    judged = replace(verdict(UNTOUCHED, course=Course.PAUSE), reason=replace(WHY, code=452))
    assert given_back(concluded(worn, judged)).breaks["count"] == 2


def test_a_break_is_counted_with_what_was_accepted_until_then() -> None:
    ended = given_back(concluded(claim(), verdict(UNTOUCHED, course=Course.PAUSE, is_break=True)))
    assert ended.breaks == {"count": 1, "acceptances": 7, "epoch": 3}


def test_the_third_break_while_others_passed_refuses_the_message() -> None:
    worn = claim(breaks={"count": 2, "acceptances": 6, "epoch": 3})
    assert rulings(concluded(worn, verdict(UNTOUCHED, course=Course.PAUSE, is_break=True))) == [Ruling.REFUSED]


def test_a_message_that_alone_is_told_to_log_in_does_not_stop_the_others_for_ever() -> None:
    """530 to one sender only is in truth a verdict on the message, though its words accuse the route."""
    worn = claim(breaks={"count": 2, "acceptances": 6, "epoch": 3})
    judged = replace(verdict(UNTOUCHED, course=Course.PAUSE), reason=replace(WHY, code=530))
    assert rulings(concluded(worn, judged)) == [Ruling.REFUSED]


def test_a_break_without_an_acceptance_in_between_is_not_counted() -> None:
    worn = claim(breaks={"count": 2, "acceptances": 7, "epoch": 3})
    ended = given_back(concluded(worn, verdict(UNTOUCHED, course=Course.PAUSE, is_break=True)))
    assert ended.breaks["count"] == 2


@pytest.mark.parametrize(("accepted_since", "count"), [(0, 2), (1, 3)])
def test_after_a_restart_only_what_was_accepted_since_counts(accepted_since: int, count: int) -> None:
    """The number of another process says nothing: by itself it must not look like a change."""
    worn = claim(breaks={"count": 2, "acceptances": 6, "epoch": 2})
    after = breaks_of(worn, epoch=3).after_break(acceptances=accepted_since)
    assert after.count == count


def test_an_unanswered_final_dot_marks_the_next_attempt() -> None:
    judged = verdict(UNTOUCHED, course=Course.PAUSE, is_break=True, is_ambiguous=True)
    assert given_back(concluded(claim(), judged)).outcome_unknown


def test_an_unanswered_final_dot_says_what_came_instead() -> None:
    """In the words of the reason for which the message may be held."""
    judged = verdict(UNTOUCHED, course=Course.PAUSE, is_break=True, is_ambiguous=True)
    assert given_back(concluded(claim(), judged)).what == WHY.text


@pytest.mark.parametrize(("holds_unknown", "is_given_back"), [(True, True), (False, False)])
def test_a_message_that_the_relay_may_have_is_held_and_not_refused_for_breaking_sessions(
    holds_unknown: bool, is_given_back: bool
) -> None:
    """In Badmail somebody would replay it, and nothing there says that it may have arrived."""
    worn = claim(breaks={"count": 2, "acceptances": 6, "epoch": 3})
    judged = verdict(UNTOUCHED, course=Course.PAUSE, is_break=True, is_ambiguous=True)
    ended = concluded(worn, judged, around=replace(AROUND, holds_unknown=holds_unknown))
    assert isinstance(ended, GivenBack) == is_given_back


def test_an_unanswered_final_dot_leaves_all_recipients_undecided() -> None:
    """Settled, the message would go on unmarked: the refused recipient is asked for once more instead."""
    judged = verdict(UNTOUCHED, REFUSED, course=Course.PAUSE, is_break=True, is_ambiguous=True)
    assert given_back(concluded(claim("a@x", "b@x"), judged)).outcome_unknown


def test_an_acceptance_is_kept_where_the_replies_for_others_were_lost() -> None:
    """RFC 2033 section 4.2: by LMTP each recipient has its own reply. The rest is sent again, and marked."""
    judged = verdict(ACCEPTED, UNTOUCHED, course=Course.PAUSE, is_break=True, is_ambiguous=True)
    ended = concluded(claim("a@x", "b@x"), judged)
    assert rulings(ended) == [Ruling.ACCEPTED, Ruling.POSTPONED]
    assert isinstance(ended, Settlement)
    assert (ended.outcome_unknown, ended.next_attempt_at) == (True, NOW)


def test_an_expired_message_is_refused_and_says_so() -> None:
    around = replace(AROUND, open_clock=6 * 86_400_000)
    ended = concluded(claim(), verdict(POSTPONED), around=around)
    assert rulings(ended) == [Ruling.REFUSED]
    assert isinstance(ended, Settlement)
    assert ended.has_expired
    assert ended.answers[0].reason.text == "expired after 6 days; at last: final dot: busy"


def test_a_refused_message_does_not_expire() -> None:
    around = replace(AROUND, open_clock=6 * 86_400_000)
    ended = concluded(claim(), verdict(REFUSED), around=around)
    assert isinstance(ended, Settlement)
    assert not ended.has_expired
