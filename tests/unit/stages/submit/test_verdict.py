"""Every row of what a reply means, at its edges.

What section 9 of the design says, and where it is shown. A name alone is a test here; `ROWS` are those of the table
below, `dialogue:` those of tests/dialogues/smtp, each with its verdict.

| Row or sentence                               | Shown by                                                             |
|-----------------------------------------------|----------------------------------------------------------------------|
| 2xx after the final dot                       | ROWS; every_2yz_after_the_final_dot_is_custody; reply kept:          |
|                                               | an_accepted_message_keeps_the_relays_reply                           |
| 4xx to this message                           | ROWS; a_temporary_code_never_sends_a_message_to_badmail; test_retry  |
| 421, lost, time-out, TLS, AUTH: a sick route  | a_break_pauses_the_route_and_blames_no_message; dialogue: greeting-, |
|                                               | ehlo-, starttls-, auth-; test_conduct: a_session_that_cannot_be_     |
|                                               | opened_charges_no_message                                            |
| 530, 534, 535, 538                            | ROWS; not_being_let_in_outweighs_the_cut_that_follows                |
| 421 or a cut right after our own 5xx          | a_break_right_after_our_own_5xx_means_a_fresh_session;               |
|                                               | dialogue: exchange-limit, cut-after-refusal; test_conduct            |
| three breaks, others accepted in between      | test_tallies; test_conclusion; test_conduct: a_message_that_breaks_  |
| ... tried alone the last time                 | test_supply: a_message_whose_next_break_decides_gets_a_session_of_   |
|                                               | its_own; test_conduct: its_last_try_is_alone                         |
| ... behind all that are due                   | test_stage: a_message_that_broke_a_session_is_claimed_when_nothing_  |
| ... no probe while another is due             | test_supply: a_message_that_broke_sessions_probes_only_as_the_last_  |
| 5xx to EHLO and HELO                          | dialogue: helo-refused; test_conduct                                 |
| 5xx to MAIL; 501, 553, 5.1.7, 5.1.8           | ROWS; a_refused_sender_becomes_the_null_one_where_so_configured      |
| 550, 551, 554 ... at RCPT or DATA             | ROWS; a_permanent_code_never_seen_before_refuses_the_message_        |
| 552 5.3.4, 5.2.3, larger than SIZE            | ROWS; a_message_refused_as_too_large_says_which_limit;               |
|                                               | a_message_larger_than_size_is_refused_by_us_and_says_so              |
| 552 5.2.2; 452 at RCPT or DATA: quota         | ROWS                                                                 |
| 452 4.3.1, 4.3.2 at MAIL: the server is full  | ROWS; test_conclusion: a_full_relay_blames_no_message_however_often  |
| several recipients                            | each_of_several_recipients_is_judged_by_its_own_reply; test_stage:   |
|                                               | each_recipient_has_its_own_verdict; dialogue: mixed-recipients, lmtp |
| lifetime                                      | test_retry; test_conduct: an_outage_however_long_                    |
| ten refusals in a row                         | test_tallies; test_stage: ten_refusals_in_a_row_raise_one_critical_  |
| SIZE at the start and once a day              | test_stage: the_size_of_the_relay_is_learned_with_nothing_to_send,   |
|                                               | the_size_is_asked_for_once_a_day                                     |
| first digit and phase, never a list of codes  | the two properties on codes never seen before                        |
| the enhanced code before the basic one        | ROWS: 550 5.2.2, 552 5.7.0, 554 4.3.1, 451 5.7.3                     |
| RSET after an error                           | test_session: a_refused_message_is_followed_by_rset;                 |
|                                               | dialogue: all-recipients-refused-plain                               |
| fresh and deferred messages take turns        | test_claims: fresh_and_deferred_messages_take_turns; test_conduct    |
| replies out of step, none, without end        | a_violation_takes_back_what_was_said_before_it; dialogue: -doubled,  |
|                                               | -999, -25, -two-codes, -endless-, -4-mb, -bare-lf, content-, -cut    |
"""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.envelope import Reason
from stages.settings import InvalidReversePath
from stages.smtp.commands import Envelope
from stages.smtp.replies import Extensions, Phase, Reply, parse_line, parse_reply
from stages.smtp.transaction import Break, BreakKind, Objection, TransactionResult
from stages.submit.verdict import (
    Accepted,
    Course,
    Outcome,
    Postponed,
    Refused,
    SenderRefused,
    Untouched,
    Verdict,
    judge,
    sick_route,
)

OFFERED = Extensions(size=1000, size_offered=True)
NOT_LET_IN = [530, 534, 535, 538]
PERMANENT = [code for code in range(500, 600) if code not in NOT_LET_IN]


def reply(line: str) -> Reply:
    code, _, text = parse_line(line.encode())
    return parse_reply(code, (text,))


OK = reply("250 2.0.0 ok")
GO_AHEAD = reply("354 go ahead")
LOST = Break(kind=BreakKind.LOST, phase=Phase.FINAL_DOT, text="the relay closed the connection")
GOODBYE = Break(kind=BreakKind.GOODBYE, phase=Phase.MAIL, text="bye", reply=reply("421 4.7.0 bye"))
TIMEOUT = Break(kind=BreakKind.TIMEOUT, phase=Phase.MAIL, text="no reply in 300 s")
VIOLATION = Break(kind=BreakKind.VIOLATION, phase=Phase.MAIL, text="not an SMTP reply: hello")
BREAKS = [LOST, GOODBYE, TIMEOUT, VIOLATION]


def facts(*recipients: str, reverse_path: str = "a@example.org", octets: int = 500) -> TransactionResult:
    """A transaction that went well as far as these replies to RCPT reach."""
    envelope = Envelope(
        reverse_path=reverse_path,
        recipients=tuple(f"r{number}@corp.example" for number in range(len(recipients))),
        octets=octets,
    )
    return TransactionResult(
        envelope=envelope,
        offered=OFFERED,
        mail=OK,
        recipients=tuple(reply(line) for line in recipients),
        finals=(None,) * len(recipients),
    )


def answered(phase: Phase, line: str, *, reverse_path: str = "a@example.org") -> TransactionResult:
    """A transaction with one recipient in which everything was accepted until `line` came."""
    good = facts("250 ok", reverse_path=reverse_path)
    match phase:
        case Phase.MAIL:
            return replace(good, mail=reply(line), recipients=(None,))
        case Phase.RCPT:
            return replace(good, recipients=(reply(line),))
        case Phase.DATA:
            return replace(good, data=reply(line))
        case _:
            return replace(good, data=GO_AHEAD, finals=(reply(line),), dot_sent=True)


def broken(broke: Break, *, phase: Phase, after_refusal: bool = False, is_first: bool = True) -> TransactionResult:
    good = facts("250 ok")
    broke = replace(broke, phase=phase)
    if phase in {Phase.MAIL, Phase.RESET}:
        good = replace(good, mail=None, recipients=(None,))
    if phase is Phase.FINAL_DOT:
        good = replace(good, data=GO_AHEAD, dot_sent=True)
    return replace(good, broken=broke, after_refusal=after_refusal, is_first=is_first)


def only(verdict: Verdict) -> Outcome:
    (outcome,) = verdict.outcomes
    return outcome


ROWS: list[tuple[Phase, str, type[Outcome], Course]] = [
    # 2xx after the final dot
    (Phase.FINAL_DOT, "250 2.0.0 queued as 123", Accepted, Course.GO_ON),
    (Phase.FINAL_DOT, "200 ", Accepted, Course.GO_ON),
    (Phase.FINAL_DOT, "299", Accepted, Course.GO_ON),
    (Phase.FINAL_DOT, "250 5.7.1 odd, but it has it", Accepted, Course.GO_ON),
    (Phase.FINAL_DOT, "250 4.2.2 odd, but it has it", Accepted, Course.GO_ON),
    # 4xx to this message
    (Phase.MAIL, "450 4.1.8 your domain does not resolve now", Postponed, Course.GO_ON),
    (Phase.MAIL, "451 4.3.0 try again", Postponed, Course.GO_ON),
    (Phase.MAIL, "451 try again", Postponed, Course.GO_ON),
    (Phase.MAIL, "452 4.2.2 quota", Postponed, Course.GO_ON),
    (Phase.MAIL, "499 never seen", Postponed, Course.GO_ON),
    (Phase.RCPT, "451 4.7.1 greylisted", Postponed, Course.GO_ON),
    (Phase.DATA, "451 4.3.0 no", Postponed, Course.GO_ON),
    (Phase.FINAL_DOT, "451 4.3.0 scanner is down", Postponed, Course.GO_ON),
    (Phase.FINAL_DOT, "400", Postponed, Course.GO_ON),
    # the route is sick
    *[
        (phase, f"{code} 5.7.0 who are you", Untouched, Course.PAUSE)
        for code in NOT_LET_IN
        for phase in (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL_DOT)
    ],
    # any other 5xx to MAIL, this message's sender
    (Phase.MAIL, "500 what", Refused, Course.GO_ON),
    (Phase.MAIL, "501 5.1.7 bad sender", Refused, Course.GO_ON),
    (Phase.MAIL, "553 5.1.8 no such domain", Refused, Course.GO_ON),
    (Phase.MAIL, "550 5.7.1 go away", Refused, Course.GO_ON),
    (Phase.MAIL, "554 5.3.2 not today", Refused, Course.GO_ON),
    (Phase.MAIL, "599 never seen", Refused, Course.GO_ON),
    # spam, policy, unknown user
    (Phase.RCPT, "550 5.1.1 no such user", Refused, Course.GO_ON),
    (Phase.RCPT, "551 moved", Refused, Course.GO_ON),
    (Phase.RCPT, "554 5.7.1 relaying denied", Refused, Course.GO_ON),
    (Phase.RCPT, "571 not on my list", Refused, Course.GO_ON),
    (Phase.DATA, "554 5.5.1 no", Refused, Course.GO_ON),
    (Phase.FINAL_DOT, "554 5.7.1 spam", Refused, Course.GO_ON),
    (Phase.FINAL_DOT, "552 5.7.0 a virus", Refused, Course.GO_ON),
    (Phase.FINAL_DOT, "552 which one", Refused, Course.GO_ON),
    # too large
    (Phase.MAIL, "552 5.3.4 too big", Refused, Course.GO_ON),
    (Phase.MAIL, "552 too big", Refused, Course.GO_ON),
    (Phase.RCPT, "552 5.2.3 too big for her", Refused, Course.GO_ON),
    (Phase.FINAL_DOT, "552 5.3.4 too big", Refused, Course.GO_ON),
    # quota
    (Phase.MAIL, "552 5.2.2 over quota", Postponed, Course.GO_ON),
    (Phase.RCPT, "552 5.2.2 over quota", Postponed, Course.GO_ON),
    (Phase.RCPT, "550 5.2.2 over quota", Postponed, Course.GO_ON),
    (Phase.DATA, "552 5.2.2 over quota", Postponed, Course.GO_ON),
    (Phase.FINAL_DOT, "552 5.2.2 over quota", Postponed, Course.GO_ON),
    (Phase.RCPT, "452 4.2.2 over quota", Postponed, Course.GO_ON),
    (Phase.RCPT, "452 full", Postponed, Course.GO_ON),
    (Phase.RCPT, "452 4.3.1 full", Postponed, Course.GO_ON),
    (Phase.DATA, "452 4.3.1 full", Postponed, Course.GO_ON),
    (Phase.FINAL_DOT, "452 full", Postponed, Course.GO_ON),
    # too many recipients, RFC 5321 section 4.5.3.1.10
    (Phase.RCPT, "552 too many", Postponed, Course.GO_ON),
    (Phase.RCPT, "550 5.5.3 too many", Postponed, Course.GO_ON),
    # the server is full
    (Phase.MAIL, "452 4.3.1 insufficient system resources", Untouched, Course.PAUSE),
    (Phase.MAIL, "452 4.3.2 not accepting", Untouched, Course.PAUSE),
    (Phase.MAIL, "450 4.3.2 not accepting", Untouched, Course.PAUSE),
    (Phase.MAIL, "452 full", Untouched, Course.PAUSE),
    # code and enhanced code of two minds: the temporary one wins
    (Phase.FINAL_DOT, "550 4.7.1 greylisted", Postponed, Course.GO_ON),
    (Phase.MAIL, "554 4.3.1 full", Postponed, Course.GO_ON),
    (Phase.MAIL, "451 5.7.3 not now", Postponed, Course.GO_ON),
]  # fmt: skip


def test_what_the_map_above_names_is_there() -> None:
    """A map that is wrong is worse than none."""
    tests = Path(__file__).parents[3]
    files = [*Path(__file__).parent.glob("test_*.py"), tests / "unit" / "spool" / "test_claims.py"]
    names = " ".join(name for path in files for name in re.findall(r"def (test_\w+)", path.read_text()))
    named = re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+){2,}_?", __doc__ or "")
    assert len(named) > 20
    assert [name for name in named if name not in names] == []


@pytest.mark.parametrize(("phase", "line", "outcome", "course"), ROWS)
def test_a_reply_means_what_the_table_says(phase: Phase, line: str, outcome: type[Outcome], course: Course) -> None:
    verdict = judge(answered(phase, line))
    assert (type(only(verdict)), verdict.course) == (outcome, course)


@given(st.sampled_from(PERMANENT), st.sampled_from([Phase.MAIL, Phase.DATA, Phase.FINAL_DOT]))
def test_a_permanent_code_never_seen_before_refuses_the_message_and_nothing_else(code: int, phase: Phase) -> None:
    verdict = judge(answered(phase, f"{code} text"))
    assert (type(only(verdict)), verdict.course) == (Refused, Course.GO_ON)


@given(st.integers(400, 499).filter(lambda code: code not in {421, 452}), st.sampled_from(list(ROWS)))
def test_a_temporary_code_never_sends_a_message_to_badmail(code: int, row: tuple[Phase, str, object, object]) -> None:
    assert isinstance(only(judge(answered(row[0], f"{code} text"))), Postponed)


@given(st.integers(200, 299), st.from_regex(r"([245]\.[0-9]\.[0-9] )?[a-z]*", fullmatch=True))
def test_every_2yz_after_the_final_dot_is_custody(code: int, text: str) -> None:
    """RFC 5321 section 4.2.5: sending it again would deliver it twice."""
    assert isinstance(only(judge(answered(Phase.FINAL_DOT, f"{code} {text}"))), Accepted)


def test_an_accepted_message_keeps_the_relays_reply() -> None:
    assert only(judge(answered(Phase.FINAL_DOT, "250 2.0.0 queued as 123"))) == Accepted(
        reply=reply("250 2.0.0 queued as 123")
    )


def test_a_reason_quotes_the_reply_and_names_the_command() -> None:
    assert only(judge(answered(Phase.RCPT, "550 5.1.1 no such user"))) == Refused(
        reason=Reason(stage="submit", code=550, enhanced="5.1.1", text="RCPT TO: no such user")
    )


@pytest.mark.parametrize(
    ("phase", "line", "limit"),
    [
        (Phase.MAIL, "552 5.3.4 too big", "the relay's limit (SIZE 1000)"),
        (Phase.FINAL_DOT, "552 5.3.4 too big", "the relay's limit (SIZE 1000)"),
        (Phase.RCPT, "552 5.2.3 too big", "the recipient's limit"),
    ],
)
def test_a_message_refused_as_too_large_says_which_limit(phase: Phase, line: str, limit: str) -> None:
    outcome = only(judge(answered(phase, line)))
    assert isinstance(outcome, Refused)
    assert outcome.reason.text == f"{phase}: 500 octets, larger than {limit}: too big"


def test_a_message_larger_than_size_is_refused_by_us_and_says_so() -> None:
    """The reply codes of a reason are the relay's; this verdict is ours."""
    verdict = judge(replace(facts("250 ok", octets=1001), mail=None, recipients=(None,), objection=Objection.SIZE))
    reason = Reason(stage="submit", text="1001 octets, larger than the relay's limit (SIZE 1000)")
    assert verdict == Verdict(outcomes=(Refused(reason=reason),), course=Course.GO_ON)


def test_a_message_that_needs_smtputf8_is_refused_where_the_relay_has_none() -> None:
    """RFC 6531 section 3.2: it must not be sent."""
    verdict = judge(replace(facts("250 ok"), mail=None, recipients=(None,), objection=Objection.SMTPUTF8))
    assert isinstance(only(verdict), Refused)


@pytest.mark.parametrize("line", ["501 bad", "553 bad", "550 5.1.7 bad", "554 5.1.8 bad", "501 5.5.4 bad"])
def test_a_refused_sender_becomes_the_null_one_where_so_configured(line: str) -> None:
    verdict = judge(answered(Phase.MAIL, line), refused_reverse_path=InvalidReversePath.NULL)
    assert isinstance(only(verdict), SenderRefused)


@pytest.mark.parametrize(
    "refused",
    [
        answered(Phase.MAIL, "550 5.7.1 policy"),
        answered(Phase.RCPT, "553 5.1.3 bad mailbox"),
        answered(Phase.FINAL_DOT, "550 5.1.8 from nowhere"),
        answered(Phase.MAIL, "501 5.1.7 bad", reverse_path=""),
    ],
)
def test_only_a_sender_refused_at_mail_and_not_null_yet_becomes_null(refused: TransactionResult) -> None:
    assert isinstance(only(judge(refused, refused_reverse_path=InvalidReversePath.NULL)), Refused)


@pytest.mark.parametrize("broke", BREAKS)
@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT, Phase.FINAL_DOT])
def test_a_break_pauses_the_route_and_blames_no_message(broke: Break, phase: Phase) -> None:
    verdict = judge(broken(broke, phase=phase))
    assert (type(only(verdict)), verdict.course, verdict.is_break) == (Untouched, Course.PAUSE, True)


@pytest.mark.parametrize("broke", [LOST, GOODBYE])
@pytest.mark.parametrize("phase", [Phase.RESET, Phase.MAIL, Phase.RCPT, Phase.DATA])
def test_a_break_right_after_our_own_5xx_means_a_fresh_session(broke: Break, phase: Phase) -> None:
    verdict = judge(broken(broke, phase=phase, after_refusal=True, is_first=False))
    assert (type(only(verdict)), verdict.course, verdict.is_break) == (Untouched, Course.FRESH_SESSION, False)


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL_DOT])
def test_nonsense_after_our_own_5xx_is_not_what_a_spent_session_says(phase: Phase) -> None:
    """A fresh session would get the same message and the same nonsense, again and again."""
    verdict = judge(broken(VIOLATION, phase=phase, after_refusal=True, is_first=False))
    assert (type(only(verdict)), verdict.course, verdict.is_break) == (Untouched, Course.PAUSE, True)


@pytest.mark.parametrize("broke", [LOST, GOODBYE, VIOLATION])
@pytest.mark.parametrize("after_refusal", [False, True])
def test_a_relay_that_ends_at_rset_gets_a_fresh_session(broke: Break, after_refusal: bool) -> None:
    """RFC 5321 section 4.1.1.5: RSET is never refused; and a fresh session needs none."""
    verdict = judge(broken(broke, phase=Phase.RESET, after_refusal=after_refusal, is_first=False))
    assert (type(only(verdict)), verdict.course, verdict.is_break) == (Untouched, Course.FRESH_SESSION, False)


@pytest.mark.parametrize("said", ["550 5.1.1 unknown", "451 later", "552 5.3.4 too big"])
def test_a_violation_takes_back_what_was_said_before_it(said: str) -> None:
    """A reply too many, and the next message would be refused by the refusal of the one before it."""
    for stopped in (
        replace(answered(Phase.MAIL, said), recipients=(OK,)),
        replace(answered(Phase.RCPT, said), data=None),
    ):
        verdict = judge(replace(stopped, broken=replace(VIOLATION, phase=Phase.DATA)))
        assert (type(only(verdict)), verdict.course, verdict.is_break) == (Untouched, Course.PAUSE, True)


def test_no_violation_takes_back_an_acceptance() -> None:
    """By LMTP it may come between two final replies; sending to the first recipient again would deliver twice."""
    two = replace(facts("250 ok", "250 ok"), data=GO_AHEAD, finals=(OK, None), dot_sent=True)
    verdict = judge(replace(two, broken=replace(VIOLATION, phase=Phase.FINAL_DOT)))
    assert [type(outcome) for outcome in verdict.outcomes] == [Accepted, Untouched]
    assert (verdict.course, verdict.is_ambiguous) == (Course.PAUSE, True)


def test_a_time_out_after_our_own_5xx_still_pauses_the_route() -> None:
    assert judge(broken(TIMEOUT, phase=Phase.RCPT, after_refusal=True)).course is Course.PAUSE


@pytest.mark.parametrize("broke", [LOST, GOODBYE])
@pytest.mark.parametrize("phase", [Phase.RESET, Phase.MAIL])
def test_a_session_that_went_stale_is_replaced_at_once(broke: Break, phase: Phase) -> None:
    """A relay closes idle sessions; if the route is sick the fresh session shows it."""
    verdict = judge(broken(broke, phase=phase, is_first=False))
    assert (verdict.course, verdict.is_break) == (Course.FRESH_SESSION, False)


@pytest.mark.parametrize("phase", [Phase.RCPT, Phase.DATA, Phase.FINAL_DOT])
def test_a_reused_session_that_breaks_later_is_not_stale(phase: Phase) -> None:
    assert judge(broken(LOST, phase=phase, is_first=False)).course is Course.PAUSE


@pytest.mark.parametrize("broke", [TIMEOUT, VIOLATION])
def test_silence_and_nonsense_on_a_reused_session_pause_the_route(broke: Break) -> None:
    assert judge(broken(broke, phase=Phase.MAIL, is_first=False)).course is Course.PAUSE


def test_a_break_at_rset_is_not_counted_against_the_next_message() -> None:
    verdict = judge(broken(TIMEOUT, phase=Phase.RESET, is_first=False))
    assert (verdict.course, verdict.is_break) == (Course.PAUSE, False)


def test_a_message_refused_before_the_421_is_refused_and_the_session_is_spent() -> None:
    """Exchange ends the session at its fifth protocol error; the fifth message is to blame for itself alone."""
    spent = replace(answered(Phase.MAIL, "501 5.1.7 bad"), broken=GOODBYE, after_refusal=True)
    verdict = judge(spent)
    assert (type(only(verdict)), verdict.course, verdict.is_break) == (Refused, Course.FRESH_SESSION, False)


def test_not_being_let_in_outweighs_the_cut_that_follows() -> None:
    verdict = judge(replace(answered(Phase.MAIL, "530 5.7.0 log in"), broken=LOST, after_refusal=True))
    assert verdict.course is Course.PAUSE
    told = "MAIL FROM: log in (set username and a password in [smtp])"
    assert verdict.reason == Reason(stage="submit", code=530, enhanced="5.7.0", text=told)


@pytest.mark.parametrize(("broke", "ambiguous"), [(LOST, True), (TIMEOUT, True), (VIOLATION, True), (GOODBYE, False)])
def test_a_break_after_the_final_dot_leaves_open_who_has_the_message_unless_the_relay_said(
    broke: Break, ambiguous: bool
) -> None:
    assert judge(broken(broke, phase=Phase.FINAL_DOT)).is_ambiguous is ambiguous


def test_a_break_before_the_final_dot_leaves_nothing_open() -> None:
    assert not judge(broken(LOST, phase=Phase.CONTENT)).is_ambiguous


def test_a_reply_to_the_final_dot_leaves_nothing_open_though_the_session_broke_then() -> None:
    verdict = judge(replace(answered(Phase.FINAL_DOT, "250 ok"), broken=LOST))
    assert (type(only(verdict)), verdict.is_ambiguous) == (Accepted, False)


def test_each_of_several_recipients_is_judged_by_its_own_reply() -> None:
    mixed = facts("250 ok", "550 5.1.1 unknown", "451 later", "251 will forward", "552 5.2.2 full", "530 log in")
    verdict = judge(replace(mixed, data=GO_AHEAD, finals=(OK,) * len(mixed.recipients), dot_sent=True))
    kinds = [type(outcome) for outcome in verdict.outcomes]
    assert kinds == [Accepted, Refused, Postponed, Accepted, Postponed, Untouched]
    assert verdict.course is Course.PAUSE


def test_a_refusal_at_the_final_dot_reaches_only_the_recipients_accepted_before() -> None:
    mixed = replace(facts("250 ok", "451 later"), data=GO_AHEAD, finals=(reply("554 5.7.1 spam"), None), dot_sent=True)
    assert [type(outcome) for outcome in judge(mixed).outcomes] == [Refused, Postponed]


def test_a_refused_mail_decides_over_the_replies_pipelined_behind_it() -> None:
    """RFC 2920: RCPT and DATA were under way; their 503 says nothing new."""
    pipelined = replace(facts("503 5.5.1 need MAIL"), mail=reply("451 4.3.0 later"), data=reply("503 need RCPT"))
    assert isinstance(only(judge(pipelined)), Postponed)


def test_a_refused_recipient_decides_over_the_refused_data_behind_it() -> None:
    pipelined = replace(facts("451 later"), data=reply("554 5.5.1 no valid recipients"))
    assert isinstance(only(judge(pipelined)), Postponed)


def test_a_break_among_the_recipients_leaves_the_answered_ones_answered() -> None:
    half = replace(facts("550 5.1.1 unknown", "250 ok"), recipients=(reply("550 5.1.1 unknown"), None), broken=LOST)
    assert [type(outcome) for outcome in judge(half).outcomes] == [Refused, Untouched]


def test_nothing_without_a_2yz_to_the_final_dot_is_accepted() -> None:
    """Neither a 250 to RCPT nor the 354 is custody."""
    assert isinstance(only(judge(replace(facts("250 ok"), data=GO_AHEAD))), Untouched)


def test_a_session_that_could_not_be_opened_is_explained_by_the_reply_or_by_the_network() -> None:
    assert str(sick_route(Phase.GREETING, "554 no", reply=reply("554 5.3.2 no"))) == "submit: 554 5.3.2 greeting: no"
    assert str(sick_route(Phase.CONNECT, "refused")) == "submit: connect: refused"


def test_what_to_change_stands_behind_the_reason() -> None:
    """The operator reads it in the event, in status and in what check prints."""
    refused = sick_route(Phase.AUTH, "535 5.7.8 no", reply=reply("535 5.7.8 no"), advice="check username")
    assert str(refused) == "submit: 535 5.7.8 AUTH: no (check username)"
    assert str(sick_route(Phase.AUTH, "no login", advice="set port")) == "submit: AUTH: no login (set port)"


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("530 5.7.0 Must issue a STARTTLS command first", 'set tls = "starttls" in [smtp]'),
        ("530 5.7.1 Authentication required", "set username and a password in [smtp]"),
        ("538 5.7.11 Encryption required", 'the relay wants TLS first: set tls = "starttls" in [smtp]'),
    ],
)
def test_a_relay_that_does_not_let_us_in_is_explained(line: str, advice: str) -> None:
    reason = judge(answered(Phase.MAIL, line)).reason
    assert reason is not None
    assert reason.text.endswith(f" ({advice})")


def test_by_lmtp_each_recipient_has_the_final_reply_of_its_own() -> None:
    """RFC 2033 section 4.2."""
    many = facts("250 ok", "550 5.1.1 no", "250 ok", "250 ok")
    finals = (OK, None, reply("452 4.2.2 full"), reply("550 5.2.1 off"))
    verdict = judge(replace(many, data=GO_AHEAD, finals=finals, dot_sent=True))
    assert [type(outcome) for outcome in verdict.outcomes] == [Accepted, Refused, Postponed, Refused]
    assert (verdict.course, verdict.is_ambiguous) == (Course.GO_ON, False)


def test_a_cut_between_the_final_replies_leaves_those_that_had_none_unknown() -> None:
    many = replace(facts("250 ok", "250 ok", "550 5.1.1 no"), data=GO_AHEAD, dot_sent=True, broken=LOST)
    verdict = judge(replace(many, finals=(OK, None, None)))
    assert [type(outcome) for outcome in verdict.outcomes] == [Accepted, Untouched, Refused]
    assert verdict.is_ambiguous
    assert not judge(replace(many, recipients=(*many.recipients[:1], None, None), finals=(OK, None, None))).is_ambiguous


ODD = facts("250 ok").envelope


@pytest.mark.parametrize(
    ("envelope", "hint"),
    [
        (replace(ODD, eightbit=True), "8-bit text, and the relay does not offer 8BITMIME"),
        (replace(ODD, overlong_line_octets=2000), "a line of 2000 octets, more than 998"),
        (replace(ODD, has_nul=True), "NUL"),
        (replace(ODD, has_nul=True, eightbit=True), "8-bit text, and the relay does not offer 8BITMIME; NUL"),
    ],
)
def test_a_refusal_of_content_says_what_a_relay_need_not_bear(envelope: Envelope, hint: str) -> None:
    """RFC 6152; RFC 5322 section 2.1: it is sent as it is, and where that is refused the reason is plain."""
    refused = replace(answered(Phase.FINAL_DOT, "554 5.6.0 no"), envelope=envelope, offered=Extensions())
    outcome = only(judge(refused))
    assert isinstance(outcome, Refused)
    assert str(outcome.reason) == f"submit: 554 5.6.0 final dot: no (the message has {hint})"


def test_a_refusal_of_somebody_says_nothing_about_the_content() -> None:
    refused = answered(Phase.RCPT, "550 5.1.1 no")
    outcome = only(judge(replace(refused, envelope=replace(refused.envelope, has_nul=True))))
    assert isinstance(outcome, Refused)
    assert str(outcome.reason) == "submit: 550 5.1.1 RCPT TO: no"
