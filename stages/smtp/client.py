"""Carry out transactions with the relay, one after another over one session.

With PIPELINING (RFC 2920) MAIL, RCPT and DATA leave in one packet, and the envelope of the next message leaves behind
the final dot of this one. After the first 5yz of a session commands go one by one: a refused MAIL then costs one error
at the relay and not three (MaxProtocolErrors).

**Invariants:**

- No content is sent unless the relay accepted MAIL and at least one recipient and said 354 to this very message.
- `before_dot` returns before the final dot leaves.
- Of the next message nothing but its envelope is sent before the result of this one has been passed on.

**Failures:** what the relay or the network does to a transaction is a `TransactionResult`, not an exception. An
exception of `before_dot`, of the content, of `take` or of `on_result` passes through; the session is then of no further
use and has to be closed, and what was taken and has no result was not accepted unless its `before_dot` was called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from stages.dialogue import Dialogue, silence
from stages.errors import OurBug
from stages.smtp.commands import DATA, QUIT, RSET, mail, rcpt
from stages.smtp.connection import SessionBroken
from stages.smtp.encoding import FINAL_DOT, DataEncoder, encode_message
from stages.smtp.opening import Session, SmtpEndpoint, open_session
from stages.smtp.replies import Phase, Reply
from stages.smtp.transaction import (
    Break,
    Objection,
    Submission,
    TransactionResult,
    objection_to,
)

QUIT_PATIENCE_SECONDS = 5.0

Take = Callable[[], Submission | None]
OnResult = Callable[[Submission, TransactionResult], Awaitable[None]]


class SmtpClient:
    """One session with the relay. Made by `open`; belongs to one task. `mechanism` is what logged us in."""

    def __init__(self, session: Session, *, timeout: float, final_dot_timeout: float) -> None:
        self._connection = session.connection
        self._timeout = timeout
        self._final_dot_timeout = final_dot_timeout
        self._must_reset = False
        self._is_spent = False
        self._is_lmtp = session.is_lmtp
        self._transactions = 0
        self.greeting = session.greeting
        self.extensions = session.extensions
        self.mechanism = session.mechanism
        self.is_tls = session.connection.is_tls
        self.peer_address = session.connection.peer_address

    @classmethod
    async def open(
        cls, relay: SmtpEndpoint, *, timeout: float, final_dot_timeout: float, dialogue: Dialogue | None = None
    ) -> SmtpClient:
        """Connect, introduce ourselves, secure the connection, log in. Raises `RouteFailed`. Durations in seconds.

        What is said is told to `dialogue`.
        """
        session = await open_session(relay, timeout=timeout, dialogue=dialogue or silence())
        return cls(session, timeout=timeout, final_dot_timeout=final_dot_timeout)

    @property
    def is_usable(self) -> bool:
        """Whether another transaction may be begun in this session."""
        return not self._is_spent and self._connection.broken is None

    @property
    def errors(self) -> int:
        """How many 5yz replies this session has had."""
        return self._connection.errors

    async def submit(self, submission: Submission) -> TransactionResult:
        """Carry out one transaction."""
        transaction = self._begin(submission)
        await self._carry_out(transaction, take=_nothing)
        return self._result_of(transaction)

    async def submit_many(self, take: Take, on_result: OnResult) -> Submission | None:
        """Carry out what `take` gives until it gives None or the session cannot go on.

        `take` returns what is ready now and never waits. `on_result` is awaited after each transaction, in order,
        before the content of the next is sent. Returns the submission that was taken and not tried, if there is one.
        """
        ahead: _Transaction | None = None
        while True:
            if ahead is None:
                submission = take() if self.is_usable else None
                if submission is None:
                    return None
                ahead = self._begin(submission)
            elif not self.is_usable:
                return ahead.submission
            current = ahead
            ahead = await self._carry_out(current, take=take)
            await on_result(current.submission, self._result_of(current))

    async def quit(self) -> None:
        """Say goodbye where the relay still listens, and close; never raises for what the relay does."""
        try:
            if self.is_usable:
                await self._connection.send(QUIT)
                await self._connection.answer(timeout=min(self._timeout, QUIT_PATIENCE_SECONDS))
        except SessionBroken:
            pass  # the session ends either way, and nothing of ours depends on how
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connection without a word; never raises."""
        self._is_spent = True
        await self._connection.close()

    @property
    def _may_pipeline(self) -> bool:
        return self.extensions.pipelining and self._connection.errors == 0

    def _begin(self, submission: Submission) -> _Transaction:
        return _Transaction(submission=submission, objection=objection_to(submission.envelope, self.extensions))

    async def _carry_out(self, transaction: _Transaction, *, take: Take) -> _Transaction | None:
        """Fill in the facts; return the next transaction if it was taken meanwhile."""
        if transaction.objection is not None:
            return None
        if not self.is_usable:
            raise OurBug("a transaction begun in a session that is over")
        transaction.is_first, self._transactions = self._transactions == 0, self._transactions + 1
        ahead = None
        self._is_spent = True  # until the transaction has come to an orderly end
        try:
            await self._give_envelope(transaction)
            if transaction.may_send_content:
                await self._give_content(transaction)
                ahead = await self._look_ahead(take) if transaction.dot_sent else None
                await self._await_final(transaction)
        except SessionBroken as error:
            transaction.broken = _located(error.broken, transaction)
            transaction.after_refusal = self._connection.after_refusal
        else:
            self._is_spent = transaction.ended_early
            self._must_reset = transaction.had_error and not (ahead and ahead.is_sent)
        return ahead

    async def _give_envelope(self, transaction: _Transaction) -> None:
        if self._must_reset:
            await self._reset()
        if not transaction.is_sent and self._may_pipeline:
            await self._send_envelope(transaction)
        if transaction.is_sent:
            await self._collect_replies(transaction)
        else:
            await self._go_step_by_step(transaction)

    async def _reset(self) -> None:
        reply = await self._connection.ask(RSET)
        if not reply.is_positive:
            raise self._connection.give_up(f"RSET was refused: {reply}", phase=Phase.RESET)
        self._must_reset = False

    async def _send_envelope(self, transaction: _Transaction) -> None:
        envelope = transaction.submission.envelope
        recipients = [rcpt(recipient) for recipient in envelope.recipients]
        await self._connection.send(mail(envelope, self.extensions), *recipients, DATA)
        transaction.is_sent = True

    async def _collect_replies(self, transaction: _Transaction) -> None:
        connection = self._connection
        transaction.mail = await connection.answer()
        for _ in transaction.submission.envelope.recipients:
            transaction.recipients.append(await connection.answer())
        transaction.data = await connection.answer()
        if not transaction.data.is_intermediate:
            return
        if not transaction.mail.is_positive:
            raise connection.give_up("DATA was accepted after MAIL had been refused", phase=Phase.DATA)
        if not transaction.has_recipient and self._is_lmtp:
            # RFC 2033 section 4.2: it must be 503. A dot would get no reply, so there is no way back to commands.
            transaction.ended_early = True
            return
        if not transaction.has_recipient:
            # RFC 2920 section 3.1: the relay waits for a message to nobody; a single dot ends it, and its reply is
            # moot.
            await connection.begin_content()
            await connection.write_content(FINAL_DOT)
            await connection.answer()

    async def _go_step_by_step(self, transaction: _Transaction) -> None:
        connection, envelope = self._connection, transaction.submission.envelope
        transaction.mail = await connection.ask(mail(envelope, self.extensions))
        if not transaction.mail.is_positive:
            return
        for recipient in envelope.recipients:
            transaction.recipients.append(await connection.ask(rcpt(recipient)))
        if transaction.has_recipient:
            transaction.data = await connection.ask(DATA)

    async def _give_content(self, transaction: _Transaction) -> None:
        submission = transaction.submission
        await self._connection.begin_content(transaction.accepted if self._is_lmtp else 1)
        if isinstance(submission.content, bytes):
            rest = encode_message(submission.content)
        else:
            encoder = DataEncoder()
            async for chunk in submission.content:
                if self._connection.has_news:
                    return  # the relay has heard enough; what it says is read by _await_final
                await self._connection.write_content(encoder.feed(chunk))
            rest = encoder.finish()
        submission.before_dot()
        transaction.dot_sent = True
        await self._connection.write_content(rest)

    async def _look_ahead(self, take: Take) -> _Transaction | None:
        # RFC 2920 section 3.1: MAIL may follow the final dot in the same group.
        if not self._may_pipeline or self._connection.has_news:
            return None
        submission = take()
        if submission is None:
            return None
        ahead = self._begin(submission)
        if ahead.objection is None:
            # A break belongs to the message whose reply is awaited; this one is untouched and goes back to the caller.
            with suppress(SessionBroken):
                await self._send_envelope(ahead)
        return ahead

    async def _await_final(self, transaction: _Transaction) -> None:
        connection = self._connection
        timeout = self._final_dot_timeout if transaction.dot_sent else self._timeout
        # RFC 2033 section 4.2: by LMTP each recipient that was accepted has a reply of its own.
        for _ in range(transaction.accepted if self._is_lmtp else 1):
            reply = await connection.answer(timeout=timeout)
            if not transaction.dot_sent and reply.is_positive:
                raise connection.give_up(f"the message was accepted before its end: {reply}", phase=Phase.CONTENT)
            transaction.finals.append(reply)
            if not transaction.dot_sent:
                transaction.ended_early = True
                return

    def _result_of(self, transaction: _Transaction) -> TransactionResult:
        envelope = transaction.submission.envelope
        missing = len(envelope.recipients) - len(transaction.recipients)
        return TransactionResult(
            envelope=envelope,
            offered=self.extensions,
            objection=transaction.objection,
            mail=transaction.mail,
            recipients=(*transaction.recipients, *[None] * missing),
            data=transaction.data,
            finals=self._finals_of(transaction),
            dot_sent=transaction.dot_sent,
            broken=transaction.broken,
            after_refusal=transaction.after_refusal,
            is_first=transaction.is_first,
        )

    def _finals_of(self, transaction: _Transaction) -> tuple[Reply | None, ...]:
        """The final replies, beside the recipients."""
        finals = iter(transaction.finals)
        # One reply is everybody's: by SMTP always, by LMTP when it came before the end of the content.
        common = next(finals, None) if not self._is_lmtp or transaction.ended_early else None
        replies: list[Reply | None] = []
        for number in range(len(transaction.submission.envelope.recipients)):
            is_accepted = number < len(transaction.recipients) and transaction.recipients[number].is_positive
            replies.append((common or next(finals, None)) if is_accepted else None)
        return tuple(replies)


@dataclass(slots=True, kw_only=True)
class _Transaction:
    """A transaction under way; the client alone writes here."""

    submission: Submission
    objection: Objection | None
    is_sent: bool = False  # the envelope has left, as one packet
    mail: Reply | None = None
    recipients: list[Reply] = field(default_factory=list)
    data: Reply | None = None
    finals: list[Reply] = field(default_factory=list)
    dot_sent: bool = False
    ended_early: bool = False  # the relay waits for content that we do not send, or may take it for commands
    broken: Break | None = None
    after_refusal: bool = False
    is_first: bool = True

    @property
    def accepted(self) -> int:
        return sum(reply.is_positive for reply in self.recipients)

    @property
    def has_recipient(self) -> bool:
        return self.accepted > 0

    @property
    def may_send_content(self) -> bool:
        return self.has_recipient and self.data is not None and self.data.is_intermediate

    @property
    def had_error(self) -> bool:
        replies = (self.mail, *self.recipients, self.data, *self.finals)
        return any(reply is not None and reply.is_negative for reply in replies)


def _nothing() -> Submission | None:
    return None


def _located(broken: Break, transaction: _Transaction) -> Break:
    """Tell a break in the middle of the content from one after the final dot: the reply awaited is the same."""
    if broken.phase is Phase.FINAL_DOT and not transaction.dot_sent:
        return replace(broken, phase=Phase.CONTENT)
    return broken
