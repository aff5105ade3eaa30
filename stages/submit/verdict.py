"""Say what the facts of one transaction mean: for each recipient, and for the route.

The rules, first match first. "x" stands for the class of an enhanced code, 4 or 5.

| Facts                                                        | Recipient                  | Session and route |
|--------------------------------------------------------------|----------------------------|-------------------|
| larger than SIZE; needs SMTPUTF8 and the relay has none      | refused                    | go on             |
| 2yz after the final dot                                      | accepted                   | go on             |
| any other reply, and then a violation in the transaction     | untouched, a break counted | the route pauses  |
| 530, 534, 535, 538 anywhere                                  | untouched                  | the route pauses  |
| MAIL: x.3.1, x.3.2 with 4yz; 452 without enhanced code       | untouched                  | the route pauses  |
| x.2.2; RCPT: x.5.3, 552 without enhanced code                | postponed                  | go on             |
| any other 4yz, or a 5yz whose enhanced code is 4.y.z         | postponed                  | go on             |
| any other 5yz                                                | refused                    | go on             |
| no reply of its own: 421, cut, violation at RSET             | untouched                  | a fresh session   |
| no reply of its own: 421, cut after a 5yz                    | untouched                  | a fresh session   |
| no reply of its own: 421, cut at MAIL in a reused session    | untouched                  | a fresh session   |
| no reply of its own: any other 421, cut, time-out, violation | untouched, a break counted | the route pauses  |

A reply to MAIL or DATA, or by SMTP to the final dot, is the reply to every recipient that had been accepted until then.
Untouched means that the attempt is not counted.

**Invariants:** nothing but a 2yz after the final dot is acceptance, and that always is, whatever its enhanced code
says: the relay has taken custody (RFC 5321 section 4.2.5). After a violation replies and commands may have been out of
step: a refusal that came before it may have been meant for another message. The first digit decides; single codes are
looked at only for the exceptions above, so that a code never seen before has a meaning. Where the classes of code and
enhanced code differ the temporary one wins: RFC 2034 forbids it, servers do it ("451 5.7.3"), and asking again loses
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import assert_never

from spool.envelope import Reason
from stages.settings import InvalidReversePath
from stages.smtp.auth import advice_of_code
from stages.smtp.replies import Phase, Reply
from stages.smtp.transaction import BreakKind, Objection, TransactionResult

STAGE = "submit"

_ABOUT_CONTENT = frozenset({Phase.DATA, Phase.CONTENT, Phase.FINAL_DOT})
_NOT_LET_IN = frozenset({530, 534, 535, 538})  # RFC 4954 section 6, RFC 3207 section 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The relay has custody; the reply is kept."""

    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """Not now: deferred, and the attempt counts."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Never: Badmail."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderRefused:
    """The relay refuses this reverse-path and the operator wants such mail submitted with the null one."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Untouched:
    """Nothing was decided, and no attempt is counted. `reason` is what got in the way."""

    reason: Reason


Outcome = Accepted | Postponed | Refused | SenderRefused | Untouched


class Course(IntEnum):
    """What comes next for session and route; of two the greater one holds."""

    GO_ON = 0
    FRESH_SESSION = 1
    PAUSE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one transaction means. `outcomes` stand beside the recipients of the envelope.

    `reason` says why the course is not `GO_ON`. `is_break`: the session ended in this message's hands
    (`tallies.Breaks`). `is_ambiguous`: the final dot went out and a reply did not come, the relay may have the message:
    the next attempt is a possible duplicate.
    """

    outcomes: tuple[Outcome, ...]
    course: Course
    reason: Reason | None = None
    is_break: bool = False
    is_ambiguous: bool = False


def judge(
    facts: TransactionResult, *, refused_reverse_path: InvalidReversePath = InvalidReversePath.BADMAIL
) -> Verdict:
    """Judge one transaction; `refused_reverse_path` is what the operator wants for a sender that the relay refuses."""
    if facts.objection is not None:
        refused = Refused(reason=_objection(facts, facts.objection))
        return Verdict(outcomes=(refused,) * len(facts.recipients), course=Course.GO_ON)
    rulings = [
        _rule(facts, own, final=final, wanted=refused_reverse_path)
        for own, final in zip(facts.recipients, facts.finals, strict=True)
    ]
    outcomes = tuple(outcome for outcome, _ in rulings)
    broken = _course_of_break(facts)
    course = max(broken, *(course for _, course in rulings))
    blamed = [outcome.reason for outcome, own in rulings if own is Course.PAUSE and isinstance(outcome, Untouched)]
    return Verdict(
        outcomes=outcomes,
        course=course,
        reason=blamed[0] if blamed else _reason_of_break(facts) if course is not Course.GO_ON else None,
        is_break=facts.broken is not None and broken is Course.PAUSE and facts.broken.phase is not Phase.RESET,
        is_ambiguous=facts.dot_sent and _is_cut_off(facts),
    )


def sick_route(phase: Phase, why: str, *, reply: Reply | None = None, advice: str = "") -> Reason:
    """Say why no session could be opened (`stages.smtp.RouteFailed`): always a pause, never a message's fault."""
    if reply is not None:
        return _quoted(phase, reply, advice=advice)
    return Reason(stage=STAGE, text=_advised(f"{phase}: {why}", advice))


def _rule(
    facts: TransactionResult, own: Reply | None, *, final: Reply | None, wanted: InvalidReversePath
) -> tuple[Outcome, Course]:
    """Judge one recipient by the reply that decided about it."""
    phase, reply = _deciding_reply(facts, own, final=final)
    if reply is None:
        # The session broke first, and what that means for the route is ruled once for all recipients.
        return Untouched(reason=_reason_of_break(facts)), Course.GO_ON
    reason = _explained(facts, phase, reply=reply)
    if phase is Phase.FINAL_DOT and reply.is_positive:
        return Accepted(reply=reply), Course.GO_ON
    if facts.broken is not None and facts.broken.kind is BreakKind.VIOLATION:
        return Untouched(reason=_reason_of_break(facts)), Course.GO_ON
    if _accuses_the_route(phase, reply):
        return Untouched(reason=_quoted(phase, reply, advice=advice_of_code(reply))), Course.PAUSE
    if _is_temporary(phase, reply):
        return Postponed(reason=reason), Course.GO_ON
    if wanted is InvalidReversePath.NULL and facts.envelope.reverse_path and _accuses_the_sender(phase, reply):
        return SenderRefused(reason=reason), Course.GO_ON
    return Refused(reason=reason), Course.GO_ON


def _deciding_reply(facts: TransactionResult, own: Reply | None, *, final: Reply | None) -> tuple[Phase, Reply | None]:
    # Behind a refused MAIL, and with all recipients refused, pipelined commands get replies that say nothing new.
    if facts.mail is None or facts.mail.is_negative:
        return Phase.MAIL, facts.mail
    if own is None or own.is_negative:
        return Phase.RCPT, own
    if facts.data is None or facts.data.is_negative:
        return Phase.DATA, facts.data
    return Phase.FINAL_DOT, final


def _accuses_the_route(phase: Phase, reply: Reply) -> bool:
    if reply.code in _NOT_LET_IN:
        return True
    if phase is not Phase.MAIL or reply.is_permanent:
        return False
    # RFC 3463 section 3.4: x.3.1 mail system full, x.3.2 system not accepting messages.
    return _subject(reply) in {"3.1", "3.2"} or (reply.code == 452 and reply.enhanced is None)


def _is_temporary(phase: Phase, reply: Reply) -> bool:
    if not reply.is_permanent or (reply.enhanced or "").startswith("4."):
        return True
    if _subject(reply) == "2.2":  # RFC 3463 section 3.3: mailbox full
        return True
    # RFC 5321 section 4.5.3.1.10: 552 to RCPT means too many recipients and is to be taken for 452; so is x.5.3.
    return phase is Phase.RCPT and (_subject(reply) == "5.3" or (reply.code == 552 and reply.enhanced is None))


def _accuses_the_sender(phase: Phase, reply: Reply) -> bool:
    # RFC 3463 section 3.2: x.1.7 bad sender's mailbox address syntax, x.1.8 bad sender's system address.
    return phase is Phase.MAIL and (_subject(reply) in {"1.7", "1.8"} or reply.code in {501, 553})


def _subject(reply: Reply) -> str:
    """Return subject and detail of the enhanced code, without its class."""
    return (reply.enhanced or "")[2:]


def _course_of_break(facts: TransactionResult) -> Course:
    broken = facts.broken
    if broken is None:
        return Course.GO_ON
    if broken.kind is BreakKind.TIMEOUT:
        return Course.PAUSE
    if broken.phase is Phase.RESET:
        # Nothing was said of this message, and a fresh session needs no RSET.
        return Course.FRESH_SESSION
    if broken.kind is BreakKind.VIOLATION:
        return Course.PAUSE
    if facts.after_refusal:
        return Course.FRESH_SESSION
    is_stale = not facts.is_first and facts.mail is None and broken.phase is Phase.MAIL
    # A relay closes idle sessions (RFC 5321 section 4.5.3.2.7); that says nothing about the route. A fresh session
    # does.
    return Course.FRESH_SESSION if is_stale else Course.PAUSE


def _is_cut_off(facts: TransactionResult) -> bool:
    """Whether the outcome of a recipient is unknown: the dot had left, and its reply did not come."""
    waited = [own for own, final in zip(facts.recipients, facts.finals, strict=True) if final is None]
    is_open = any(own is not None and own.is_positive for own in waited)
    return facts.broken is not None and is_open and facts.broken.kind is not BreakKind.GOODBYE


def _reason_of_break(facts: TransactionResult) -> Reason:
    broken = facts.broken
    if broken is None:
        return Reason(stage=STAGE, text="the relay gave no reply")
    if broken.reply is not None:
        return _quoted(broken.phase, broken.reply)
    return Reason(stage=STAGE, text=f"{broken.phase}: {broken.kind}: {broken.text}")


def _explained(facts: TransactionResult, phase: Phase, *, reply: Reply) -> Reason:
    """Quote the reply; where it says that the message is too large, say which limit that was."""
    match reply.enhanced:
        case "5.3.4":
            told = facts.offered.size
            limit = "the relay's limit" + (f" (SIZE {told})" if told is not None else ", of which SIZE did not tell")
        case "5.2.3":
            limit = "the recipient's limit"
        case _:
            return _with_hint(_quoted(phase, reply), facts, is_about_content=phase in _ABOUT_CONTENT)
    text = f"{phase}: {facts.envelope.octets} octets, larger than {limit}: {reply.text}"
    return Reason(stage=STAGE, code=reply.code, enhanced=reply.enhanced, text=text)


def _with_hint(reason: Reason, facts: TransactionResult, *, is_about_content: bool) -> Reason:
    """Say behind a refusal of the content what of it the standards give a relay the right to refuse."""
    envelope = facts.envelope
    hints = []
    if envelope.eightbit and not facts.offered.eightbitmime:
        hints.append("8-bit text, and the relay does not offer 8BITMIME")
    if envelope.overlong_line_octets:
        hints.append(f"a line of {envelope.overlong_line_octets} octets, more than 998")
    if envelope.has_nul:
        hints.append("NUL")
    if not hints or not is_about_content:
        return reason
    return replace(reason, text=f"{reason.text} (the message has {'; '.join(hints)})")


def _quoted(phase: Phase, reply: Reply, *, advice: str = "") -> Reason:
    text = _advised(f"{phase}: {reply.text}", advice)
    return Reason(stage=STAGE, code=reply.code, enhanced=reply.enhanced, text=text)


def _advised(text: str, advice: str) -> str:
    return f"{text} ({advice})" if advice else text


def _objection(facts: TransactionResult, objection: Objection) -> Reason:
    match objection:
        case Objection.SIZE:
            text = f"{facts.envelope.octets} octets, larger than the relay's limit (SIZE {facts.offered.size})"
        case Objection.SMTPUTF8:
            text = "an address needs SMTPUTF8, which the relay does not offer"
        case _:
            assert_never(objection)
    return Reason(stage=STAGE, text=text)
