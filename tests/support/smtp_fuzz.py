"""Let any octets be a relay's replies, a header, an address or the facts of a transaction, and check what must hold.

`CHECKS` are the four; each takes an input and raises AssertionError, or whatever a bug raises, where a promise is
broken. The same functions serve hypothesis, atheris and a reader who has an input that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from spool.ended import GivenBack
from spool.settlement import Settlement
from spool.settlement import Verdict as Ruling
from stages.mail.addresses import Address, Malformed, NullPath, first_mailbox, leading_path, mailboxes
from stages.mail.headers import MAX_FIELDS, MAX_HEADER_OCTETS, Header, scan, subject
from stages.mail.received import Hop
from stages.settings import InvalidReversePath
from stages.smtp.commands import DATA, RSET, Command, Envelope, ehlo, mail, rcpt
from stages.smtp.protocol import Answer, Event, Goodbye, SmtpProtocol, Violation
from stages.smtp.replies import Extensions, Phase, Reply, parse_extensions, parse_reply
from stages.smtp.transaction import Break, BreakKind, TransactionResult
from stages.submit.conclusion import Again, Circumstances, conclude
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
    judge,
)
from stages.validate.checks import loop_reason
from stages.validate.reverse_path import ReversePath, derive
from tests.support.submit_stage import claim
from tests.support.wire import read

HOP = Hop(peer_host="pop.isp.example", gateway="gw.corp.example", recipients=("sales@corp.example",))
RECIPIENT = "r@corp.example"
EVERYTHING = Extensions(size_offered=True, eightbitmime=True, smtputf8=True)


def check_replies(data: bytes) -> None:
    """The reply parser. The first octet chooses what is awaited and how the rest, what comes, is cut into pieces."""
    choice, wire = (data or b"\0")[0], data[1:]
    whole = _protocol(choice).receive(wire)
    for pieces in (_octets(wire), _pieces(wire, size=choice % 7 + 1)):
        protocol = _protocol(choice)
        assert _told([event for piece in pieces for event in protocol.receive(piece)]) == _told(whole)
    _spell_out(whole, wire)
    for event in whole:
        if isinstance(event, Answer | Goodbye):
            parse_extensions(event.reply)
    assert not any(isinstance(event, Violation) for event in whole[:-1])


def check_header(data: bytes) -> None:
    """The header scan, the reverse-path and the look for loops."""
    header = scan(data)
    end = 0
    for field in header.fields:
        assert end <= field.start < field.end <= header.body <= len(data)
        assert data[field.start : field.end].lower().startswith(field.name)
        assert b"\n" not in field.value
        end = field.end
    assert subject(header).isprintable()
    if data[: header.body].endswith((b"\n\n", b"\n\r\n")):
        assert _fields(scan(data[: header.body] + b"From: b@example.org\r\n")) == _fields(header)
    found = derive(header, "corp.example", falls_back=len(data) % 2 == 0)
    if isinstance(found, ReversePath):
        _envelope_of(found.address)
    else:
        assert (found.reason + found.header).isprintable()
    loop_reason(header, HOP, max_hops=3)
    assert not header.is_truncated or len(data) > MAX_HEADER_OCTETS or data.count(b":") >= MAX_FIELDS


def check_addresses(data: bytes) -> None:
    """The address parser: what it lets through is one path in one command, and reads as itself."""
    for found in (*mailboxes(data, "corp.example"), first_mailbox(data), leading_path(data, "corp.example")):
        match found:
            case Address():
                _envelope_of(str(found))
                assert first_mailbox(str(found).encode()) == first_mailbox(f"<{found}>".encode()) == found
            case Malformed(reason=reason):
                assert reason.isprintable()
            case NullPath():
                pass


def check_verdict(data: bytes) -> None:
    """The verdict, and how the claim ends by it. The octets are the replies of a relay and how it ended."""
    facts = _facts(data)
    wanted = InvalidReversePath.NULL if len(data) % 2 else InvalidReversePath.BADMAIL
    verdict = judge(facts, refused_reverse_path=wanted)
    assert len(verdict.outcomes) == len(facts.recipients)
    for number, outcome in enumerate(verdict.outcomes):
        _must_be(outcome, facts, number=number)
    assert (verdict.reason is None) == (verdict.course is Course.GO_ON)
    assert not verdict.is_break or (verdict.course is Course.PAUSE and facts.broken is not None)
    assert not verdict.is_ambiguous or (facts.dot_sent and facts.broken is not None and None in facts.finals)
    _conclude(verdict, len(facts.recipients))


CHECKS: Mapping[str, Callable[[bytes], None]] = {
    "replies": check_replies,
    "header": check_header,
    "addresses": check_addresses,
    "verdict": check_verdict,
}

_AWAITED: Sequence[Sequence[Command]] = (
    (),
    (RSET,),
    (rcpt(RECIPIENT),) * 3,
    (RSET, rcpt(RECIPIENT), DATA),
    (ehlo("gw.corp.example"),),
)


def _protocol(choice: int) -> SmtpProtocol:
    protocol = SmtpProtocol()
    if choice >= 128:
        return protocol  # which awaits the greeting
    protocol.receive(b"220 relay\r\n")
    for command in _AWAITED[choice % len(_AWAITED)]:
        protocol.send(command)
    return protocol


def _octets(wire: bytes) -> Iterator[bytes]:
    return (wire[start : start + 1] for start in range(len(wire)))


def _pieces(wire: bytes, *, size: int) -> Iterator[bytes]:
    return (wire[start : start + size] for start in range(0, len(wire), size))


def _told(events: Sequence[Event]) -> list[object]:
    return [str(event.error) if isinstance(event, Violation) else event for event in events]


def _spell_out(events: Sequence[Event], wire: bytes) -> None:
    """Every octet that came before the end of the last answer belongs to an answer, in its order."""
    position = 0
    for event in events:
        if isinstance(event, Violation):
            continue
        reply = event.reply
        assert 200 <= reply.code <= 599
        assert reply.text.isprintable()
        for number, line in enumerate(reply.lines, start=1):
            spelled = (b"%d-%s\r\n",) if number < len(reply.lines) else (b"%d %s\r\n", b"%d%s\r\n")
            forms = [form % (reply.code, line) for form in spelled]
            (form,) = [one for one in forms if wire.startswith(one, position)]
            position += len(form)


def _fields(header: Header) -> tuple[object, ...]:
    return (header.fields, header.body)


def _envelope_of(address: str) -> None:
    """An address that came out of a header goes between its brackets, and nowhere else."""
    envelope = Envelope(reverse_path=address, recipients=(address or RECIPIENT,), octets=1, smtputf8=True)
    session = ehlo("gw").wire + mail(envelope, EVERYTHING).wire + rcpt(envelope.recipients[0]).wire + b"QUIT\r\n"
    (sent,) = read(session).sent
    assert (sent.reverse_path, sent.recipients) == (address, envelope.recipients)


_ENHANCED = (b"", b"5.7.1 ", b"4.7.1 ", b"5.2.2 ", b"4.3.1 ", b"4.3.2 ", b"5.3.4 ", b"5.5.3 ", b"5.1.8 ", b"2.0.0 ")
_SAID = b"text"


@dataclass(slots=True)
class _Relay:
    """Says what an input has it say, and breaks off at its end."""

    octets: bytes
    position: int = 0

    def reply(self, *, positive: int) -> Reply | None:
        """The next reply that answers a command whose first digit is to be `positive`; None: the session broke."""
        one = self.octets[self.position : self.position + 2]
        self.position += 2
        if len(one) < 2:
            return None
        code = 400 + one[0] % 200 if one[0] >= 64 else positive * 100 + one[0] % 64
        return None if code == 421 else parse_reply(code, (_ENHANCED[one[1] % len(_ENHANCED)] + _SAID,))


def _facts(data: bytes) -> TransactionResult:
    head, relay = data[:3].ljust(3, b"\0"), _Relay(octets=data[3:])
    count = head[0] % 4 + 1
    is_lmtp, is_first = bool(head[0] & 64), bool(head[0] & 128)
    replies: list[Reply | None] = [None] * count
    finals: list[Reply | None] = [None] * count
    data_reply, phase = None, Phase.MAIL
    if (mail_reply := relay.reply(positive=2)) is not None and mail_reply.is_positive:
        for number in range(count):
            phase = Phase.RCPT
            replies[number] = relay.reply(positive=2)
            if replies[number] is None:
                break
    accepted = [number for number, one in enumerate(replies) if one is not None and one.is_positive]
    is_through = bool(accepted) and None not in replies
    if is_through:
        phase, data_reply = Phase.DATA, relay.reply(positive=3)
    is_sent = data_reply is not None and data_reply.is_intermediate
    if is_sent:
        phase, common = Phase.FINAL_DOT, relay.reply(positive=2)
        for number in accepted:
            finals[number] = common if not is_lmtp or number == accepted[0] else relay.reply(positive=2)
            if finals[number] is None:
                break
    awaited = mail_reply is None or (mail_reply.is_positive and None in replies) or (is_through and data_reply is None)
    awaited = awaited or (is_sent and any(finals[number] is None for number in accepted))
    kinds = tuple(BreakKind)
    broken = Break(kind=kinds[head[1] % len(kinds)], phase=phase, text="broke") if awaited or head[2] & 1 else None
    return TransactionResult(
        envelope=Envelope(
            reverse_path="a@example.org" if head[2] & 2 else "",
            recipients=tuple(f"r{number}@corp.example" for number in range(count)),
            octets=1,
            eightbit=bool(head[2] & 4),
        ),
        offered=Extensions(),
        mail=mail_reply,
        recipients=tuple(replies),
        data=data_reply,
        finals=tuple(finals),
        dot_sent=is_sent,
        broken=broken,
        after_refusal=bool(head[2] & 8),
        is_first=is_first,
    )


def _must_be(outcome: Outcome, facts: TransactionResult, *, number: int) -> None:
    """What follows from the replies alone, read in the plainest way."""
    own, final = facts.recipients[number], facts.finals[number]
    said = [reply for reply in (facts.mail, own, facts.data, final) if reply is not None]
    is_taken = final is not None and final.is_positive
    assert isinstance(outcome, Accepted) == is_taken
    match outcome:
        case Refused() | SenderRefused():
            assert any(reply.is_permanent for reply in said)
        case Postponed():
            assert any(reply.is_negative for reply in said)
        case Untouched():
            # A message that the relay refused or put off in so many words is never tried again as if nothing was said.
            is_let_in = all(reply.code not in {530, 534, 535, 538} for reply in said)
            assert facts.broken is not None or not is_let_in or _says_full(facts.mail)
        case Accepted():
            pass


def _says_full(reply: Reply | None) -> bool:
    return reply is not None and 400 <= reply.code < 500


def _conclude(verdict: Verdict, count: int) -> None:
    """However the claim ends, an acceptance is never lost and an undecided message never refused."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    around = Circumstances(now=at, open_clock=1, opened_at=at, acceptances=1, epoch=1)
    policy = RetryPolicy(initial=timedelta(minutes=1), longest=timedelta(hours=1), lifetime=timedelta(days=5))
    one = claim(*(f"r{number}@corp.example" for number in range(count)))
    ended = conclude(one, verdict, around=around, policy=policy, uniform=lambda low, _: low)
    accepted = [isinstance(outcome, Accepted) for outcome in verdict.outcomes]
    match ended:
        case Settlement(answers=answers):
            assert [answer.verdict is Ruling.ACCEPTED for answer in answers] == accepted
            refused = [isinstance(outcome, Refused) for outcome in verdict.outcomes]
            assert [answer.verdict is Ruling.REFUSED for answer in answers] == refused
        case GivenBack() | Again():
            assert not any(accepted)
