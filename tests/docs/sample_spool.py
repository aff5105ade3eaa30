"""A spool in which much has happened: what the pages of the documentation are compared with."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from spool.accounts import Accounts, AccountState, Left, Login, Why
from spool.envelope import Reason, Uidl
from spool.ledger import Ledger
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.replay import begin_replay
from spool.route import Route
from spool.segments import LARGE_OCTETS
from spool.settlement import Verdict
from stages.fetch.events import PollFailed, RetrievalRefused
from stages.fetch.plan import BREAKS_AT_MOST
from tests.support.attempts import A, B, attempt, cut_off, submitting
from tests.support.dropping import FILE, drop, refused, spool_at, work
from tests.support.spools import admit, arrival, make_ready

ACCOUNT = "sales-isp"
# The queue ids of the examples.
READY = QueueId("01j0e5v3xk7m2q9r4s")
REFUSED = QueueId("01j0e5v4c8h6t3b0wn")
HELD = QueueId("01j0e5v5qmd4x8k1ca")
_ORDER = (
    b"From: Alice <alice@example.org>\r\nTo: sales@corp.example\r\nSubject: your order\r\n"
    b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n"
)
OURS = Reason(stage="validate", text="no usable return path")


def make_sample(directory: Path) -> Spool:
    """A spool at `directory/spool` in which messages of most states are, divided and replayed ones too."""
    spool = spool_at(directory)
    for number, (recipients, verdicts) in enumerate(
        [([A], [Verdict.ACCEPTED]), ([A], [Verdict.POSTPONED]), ([A, B], [Verdict.ACCEPTED, Verdict.REFUSED])]
    ):
        make_ready(spool, arrival(b"Subject: number %d\r\n\r\n" % number), recipients=recipients)
        with submitting(spool) as outbox:
            attempt(spool, outbox, *verdicts)
    cut_off(spool, one=arrival(b"Subject: held\r\n\r\n", account=ACCOUNT, queue_id=HELD))
    begin_replay(spool, refused(spool, arrival(b"Subject: replayed\r\n\r\n"), reason=OURS))
    drop(spool, FILE + b"x" * LARGE_OCTETS, name="large.eml")
    work(spool)
    begin_replay(spool, refused(spool, arrival(b"Subject: being replayed\r\n\r\n"), reason=OURS))
    refused(spool, arrival(b"Subject: refused\r\n\r\n", account=ACCOUNT, queue_id=REFUSED), reason=OURS)
    refused(spool, arrival(b"Subject: the last of it\r\n\r\n", account="former"), reason=OURS)
    make_ready(spool, arrival(_ORDER, account=ACCOUNT, queue_id=READY))
    admit(spool, arrival(b"Subject: staged\r\n\r\n"))
    _poll(spool)
    return spool


def _poll(spool: Spool) -> None:
    """What polls and the relay have told."""
    now = spool.now()
    oversize = Left(
        uidl=Uidl(b"7"),
        octets=10**9,
        why=Why.OVERSIZE,
        limit_octets=10**6,
        limit_source="SIZE of the relay",
        reported_at=now,
    )
    broken = Left(uidl=Uidl(b"8"), octets=1000, why=Why.BROKEN, breaks=BREAKS_AT_MOST, tried_at=now)
    accounts, route = Accounts(spool), Route(spool)
    accounts.leave(ACCOUNT, [oversize, broken])
    accounts.save(
        AccountState(
            name=ACCOUNT,
            last_success_at=now - timedelta(hours=1),
            last_attempt_at=now,
            login=Login(at=now - timedelta(hours=1), mechanism="PLAIN"),
            last_error="cannot connect",
            failures=1,
            next_poll_at=now + timedelta(hours=1),
            remote_messages=1,
        ),
        [
            PollFailed(account=ACCOUNT, error="cannot connect"),
            PollFailed(account=ACCOUNT, error="cannot connect"),
            RetrievalRefused(account=ACCOUNT, messages=1, uidls="9", reply="no such message"),
        ],
    )
    ledger = Ledger(spool)
    ledger.note_listing(vanished=ledger.entries(ACCOUNT)[:1], returned=())
    route.learn_size(10**7)
    route.close("cannot connect")
