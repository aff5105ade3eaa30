"""Say what an operator should mend in the configuration or at an account, or know of it: one line for each matter.

Pure: settings, what a visit saw and what fetch would make of it in, lines out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from pipeline.lookout import View
from stages.fetch.outlook import Fate, Outlook
from stages.fetch.visit import Sight
from stages.pop3.replies import Capabilities
from stages.settings import AccountSettings, Ambiguous, Oversize, Settings

_AT_ONCE = timedelta(0)
# RFC 5321 section 4.5.3.2.6: what a client must wait for the reply to the final dot.
_FINAL_DOT = timedelta(minutes=10)


def advice(view: View) -> Sequence[str]:
    """Everything that there is to say."""
    lines = [*_of_connection(view.sight), *_of_capabilities(view.account, view.sight.capabilities)]
    if view.outlook is not None:
        lines += [*_of_listing(view, view.outlook), *_of_messages(view, view.outlook)]
    return lines


def settings_advice(settings: Settings) -> Sequence[str]:
    """What is allowed in the configuration, and unwise."""
    patience = settings.smtp.final_dot_timeout
    if patience >= _FINAL_DOT:
        return ()
    holds = settings.submit.ambiguous is Ambiguous.HOLD
    follows = "mail for a slower relay is held" if holds else "a slower relay gets mail twice"
    given = f"smtp.final_dot_timeout is {patience.total_seconds():g} s"
    return (f"{given}, less than the ten minutes of RFC 5321 section 4.5.3.2.6: {follows}",)


def _of_connection(sight: Sight) -> Iterator[str]:
    if sight.tls is not None and not sight.is_trusted:
        yield (
            f"the server shows a certificate that is not trusted; if it is the provider's, pin it: "
            f'tls_fingerprint = "{sight.tls.fingerprint}"'
        )
    if sight.tls is None and sight.offered is not None:
        mend = 'the server offers STLS: set tls = "starttls"' if sight.offered.stls else 'try tls = "implicit"'
        yield f"without TLS anybody on the way can read what passes; {mend}"


def _of_capabilities(account: AccountSettings, told: Capabilities | None) -> Iterator[str]:
    if told is None:
        return
    delay, days, kept = told.login_delay_seconds, told.expire_days, account.leave_on_server
    # RFC 2449 section 6.5
    if delay and timedelta(seconds=delay) > account.interval:
        interval = int(account.interval.total_seconds())
        yield f"the server wants {delay} s between logins (LOGIN-DELAY): interval is {interval} s, make it longer"
    # RFC 2449 section 6.7: 0 days stand for messages that go when they were retrieved.
    if days == 0 and kept != _AT_ONCE:
        yield "the server keeps no message that was retrieved (EXPIRE 0): set leave_on_server = false"
    elif days and kept != _AT_ONCE and (kept is None or timedelta(days=days) < kept):
        yield f"the server may delete messages after {days} days (EXPIRE), sooner than leave_on_server says"


def _of_listing(view: View, outlook: Outlook) -> Iterator[str]:
    account, sight, listed = view.account, view.sight, len(outlook.messages)
    if sight.size is not None and sight.size.count != listed:
        yield f"STAT counts {sight.size.count} messages, LIST shows {listed}"
    if account.leave_on_server != _AT_ONCE:
        if sight.has_uidl is False or (listed and not any(one.message.uidl.octets for one in outlook.messages)):
            yield "the server has no UIDL, without which no message can stay there: set leave_on_server = false"
        elif outlook.is_first and listed:
            adopt = f"pop3connector accounts adopt {account.name}"
            yield f"{listed} messages are there already; '{adopt}' marks them as had"
    if outlook.doubt:
        yield f"the server's UIDLs are in doubt ({outlook.doubt}): messages are compared by content"


def _of_messages(view: View, outlook: Outlook) -> Iterator[str]:
    limit, told = view.limit, view.sight.capabilities
    if too_large := [one.message.octets or 0 for one in outlook.messages if one.fate is Fate.OVERSIZE]:
        what = "go to Badmail" if view.oversize is Oversize.BADMAIL else "stay at the provider"
        yield (
            f"{len(too_large)} messages are over the limit of {limit.octets} octets ({limit.source}) and {what}; "
            f"the largest has {max(too_large)}"
        )
        if told is not None and told.expire_days and view.oversize is Oversize.LEAVE:
            yield f"the server may delete what stays there after {told.expire_days} days (EXPIRE)"
    if waiting := outlook.count(Fate.WAITING):
        yield f"{waiting} large messages wait until the size limit is known: {limit.source}"
    if broken := outlook.count(Fate.BROKEN):
        yield f"{broken} messages broke sessions when they were retrieved, and stay at the provider"
