"""`probe`: what a maildrop's server says, and what fetch would do with each message there.

**Invariants:** nothing is fetched or deleted, nothing of the spool changed; what was learned before a failure is shown,
then the failure's one line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from pipeline.advice import advice
from pipeline.cli.naming import account_named
from pipeline.cli.output import Cell, print_facts, print_json, print_table, rfc3339
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from pipeline.lookout import View, limit_in_force, limit_text, reading_if_any, remembered, view
from spool.safe_text import safe_text
from stages.certificates import Certificate, read_certificate
from stages.fetch.outlook import Fate, Foreseen
from stages.fetch.plan import Limit
from stages.fetch.trouble import Trouble, trouble_of
from stages.fetch.visit import Sight, visit
from stages.pop3.replies import Capabilities
from stages.settings import Oversize, Settings
from stages.tls import TlsFacts

_FATES = {
    Fate.NEW: "new",
    Fate.HAD: "had",
    Fate.COMPARE: "to be compared",
    Fate.BROKEN: "broken: it stays, and is tried once a day",
    Fate.WAITING: "waiting: the size limit is not known yet",
}


def probe(settings: Settings, name: str, *, json: bool) -> None:
    """Show an account's server and maildrop; raises what ended the visit, after that."""
    account = account_named(settings, name)
    fetch = settings.fetch
    with reading_if_any(settings.spool.directory) as spool:
        sight = asyncio.run(visit(account, fetch))
        limit = limit_in_force(fetch, spool)
        seen = view(account, sight, fetch=fetch, memory=remembered(spool, name), limit=limit)
    if json:
        print_json(_as_json(seen))
    else:
        _print(seen)
    if sight.error is None:
        return
    if trouble_of(sight.error) is Trouble.IN_USE:
        raise CommandFailed(ExitCode.TEMPORARY, f"the maildrop is in use, by fetch perhaps: {sight.error}")
    raise sight.error


def _print(seen: View) -> None:
    print_facts(_facts(seen))
    if told := advice(seen):
        print()
        print_facts(("warning", line) for line in told)
    if seen.outlook is not None and seen.outlook.messages:
        print()
        rows = (
            (one.message.number, one.message.octets, one.message.uidl.encoded or None, _fate(one, seen))
            for one in seen.outlook.messages
        )
        print_table(("number", "octets", "UIDL", "fetch"), rows, elastic="UIDL")


def _facts(seen: View) -> Iterator[tuple[str, Cell]]:
    account, sight, size = seen.account, seen.sight, seen.sight.size
    yield "account", account.name
    yield "server", f"{account.host} port {account.port}{f' ({sight.address})' if sight.address else ''}"
    yield "greeting", sight.greeting
    yield from _tls_facts(sight)
    yield "before login", _capabilities(sight.offered)
    yield "after login", _capabilities(sight.capabilities)
    yield "mechanism", sight.mechanism
    if size is not None:
        yield "maildrop", f"{size.count} messages, {'no figure of' if size.octets is None else size.octets} octets"
    yield "size limit", limit_text(seen.limit)


def _tls_facts(sight: Sight) -> Iterator[tuple[str, Cell]]:
    if sight.tls is not None:
        certificate = read_certificate(sight.tls.certificate)
        yield "TLS", f"{sight.tls.version}, {sight.tls.cipher}"
        yield "certificate", "trusted" if sight.is_trusted else "NOT TRUSTED"
        if certificate is not None:
            yield "subject", certificate.subject
            yield "issuer", certificate.issuer
            yield "names", ", ".join(certificate.names) or None
            yield "expires", rfc3339(certificate.expires_at)
        yield "fingerprint", sight.tls.fingerprint
    elif sight.offered is not None:
        yield "TLS", "none"


def _capabilities(told: Capabilities | None) -> str | None:
    if told is None:
        return None
    return ", ".join(_words(told)) if told.was_told else "not told: the server does not know CAPA"


def _words(told: Capabilities) -> list[str]:
    return [safe_text(" ".join(words).encode()) for words in told.listed]


def _fate(one: Foreseen, seen: View) -> str:
    if one.fate is Fate.OVERSIZE:
        then = "to Badmail" if seen.oversize is Oversize.BADMAIL else "it stays"
        return f"oversize: over {seen.limit.octets} octets ({seen.limit.source}), {then}"
    if one.fate is Fate.HAD and one.is_asked_for:
        return "had: compared once more, then deleted"
    return _FATES[one.fate]


def _as_json(seen: View) -> dict[str, object]:
    account, sight, limit, size = seen.account, seen.sight, seen.limit, seen.sight.size
    outlook = seen.outlook
    return {
        "account": account.name,
        "host": account.host,
        "port": account.port,
        "address": sight.address,
        "greeting": sight.greeting,
        "tls": None if sight.tls is None else _tls_json(sight.tls, is_trusted=sight.is_trusted),
        "capabilities_before_login": None if sight.offered is None else _words(sight.offered),
        "capabilities": None if sight.capabilities is None else _words(sight.capabilities),
        "mechanism": sight.mechanism,
        "count": None if size is None else size.count,
        "octets": None if size is None else size.octets,
        "limit": {"max_message_octets": limit.octets, "source": limit.source},
        "messages": None if outlook is None else [_message_json(one, limit) for one in outlook.messages],
        "warnings": list(advice(seen)),
        "error": None if sight.error is None else str(sight.error),
    }


def _tls_json(tls: TlsFacts, *, is_trusted: bool) -> dict[str, object]:
    certificate = read_certificate(tls.certificate)
    return {
        "version": tls.version,
        "cipher": tls.cipher,
        "is_trusted": is_trusted,
        "fingerprint": tls.fingerprint,
        "certificate": None if certificate is None else _certificate_json(certificate),
    }


def _certificate_json(certificate: Certificate) -> dict[str, object]:
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": list(certificate.names),
        "expires_at": rfc3339(certificate.expires_at),
    }


def _message_json(one: Foreseen, limit: Limit) -> dict[str, object]:
    is_oversize = one.fate is Fate.OVERSIZE
    return {
        "number": one.message.number,
        "uidl": one.message.uidl.encoded,
        "octets": one.message.octets,
        "fate": one.fate,
        "is_asked_for": one.is_asked_for,
        "limit_octets": limit.octets if is_oversize else None,
        "limit_source": limit.source if is_oversize else None,
    }
