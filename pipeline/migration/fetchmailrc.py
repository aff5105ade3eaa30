"""fetchmail's run control file: its POP3 accounts as `Mailbox`es.

What an option means is taken from fetchmail's manual, versions 6.3 to 6.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pipeline.migration.fetchmail_grammar import Option, Record, parsed
from pipeline.migration.theirs import (
    Mailbox,
    Notes,
    Place,
    Relay,
    Theirs,
    fingerprint_of,
    interval_of,
    is_local,
    name_of,
    words,
)
from stages.secret import Secret
from stages.settings import AuthMethod, RelayProtocol, TlsMode
from stages.trust import TlsVersion

# Where fetchmail keeps its list when it runs for the system, on Debian and its kin, and on others.
_OF_THE_SYSTEM = ("/var/lib/fetchmail/.fetchids", "/var/lib/fetchmail/.fetchmail-UIDL-cache")
_SERVICES = {"pop3": 110, "pop3s": 995}
_AUTH = {
    "any": AuthMethod.AUTO,
    "password": AuthMethod.AUTO,
    "cram": AuthMethod.CRAM_MD5,
    "cram-md5": AuthMethod.CRAM_MD5,
    "ntlm": AuthMethod.NTLM,
    "msn": AuthMethod.SPA,
}
_POP3 = frozenset({"pop3", "auto", "apop", "sdps"})
# What `_mailbox` carries over, or says itself why not.
_CARRIED = words(
    """
    daemon idfile via protocol port service interval authenticate user names password keep no-keep ssl no-ssl sslproto
    sslcertck no-sslcertck sslcertfile sslkey sslcert sslfingerprint smtphost lmtp smtpaddress smtpname fetchall
    """
)
# What ours does anyway, or need not be told.
_AS_OURS = words(
    """
    uidl no-rewrite no-flush no-limitflush no-fetchall no-stripcr no-forcecr pass8bits no-pass8bits no-idle
    no-dropstatus no-dropdelivered no-mimedecode no-tracepolls dns no-dns no-checkalias no-envelope properties
    fastuidl batchlimit expunge antispam no-bouncemail no-spambounce softbounce no-softbounce no-syslog
    invisible no-invisible showdots no-showdots pidfile no-lmtp
    """
)
_WHY_NOT = {
    "no uidl": "ours tells messages apart by UIDL wherever the server has it",
    "flush": "ours deletes nothing that it has not had",
    "limitflush": "ours never deletes what is too large; see fetch.oversize",
    "limit": "one limit is for all accounts: fetch.max_message_size; by default the relay's own",
    "fetchlimit": "see fetch.max_messages_per_session, for all accounts",
    "fetchsizelimit": "a session ends after 256 MiB, and another follows",
    "timeout": "see fetch.timeout, for all accounts",
    "mda": "ours delivers by SMTP or LMTP: see [smtp]",
    "bsmtp": "ours delivers by SMTP or LMTP: see [smtp]",
    "plugin": "ours connects by itself: start the tunnel beside it, and set host and port",
    "plugout": "ours connects by itself",
    "preconnect": "ours runs no command before a poll",
    "postconnect": "ours runs no command after a poll",
    "interface": "ours polls whatever interface is up",
    "monitor": "ours polls whatever interface is up",
    "sslcertpath": "a directory of CAs: give ca_file one file with them",
    "sslcommonname": "ours checks the certificate for the name in host",
    "passwordfile": "set password_file to a file that holds the password in its first line",
    "postmaster": "what cannot be delivered waits in Badmail; submit.notify names who is told",
    "bouncemail": "ours never bounces: what is refused waits in Badmail",
    "spambounce": "ours never bounces: what is refused waits in Badmail",
    "warnings": "what is too large is told once; see `status`",
    "logfile": "see `events`",
    "syslog": "see `events`",
    "rewrite": "ours changes no header",
    "mimedecode": "ours changes no body",
    "dropstatus": "ours changes no header",
    "dropdelivered": "ours changes no header",
    "stripcr": "ours sends CRLF, as SMTP has it",
    "forcecr": "ours sends CRLF, as SMTP has it",
    "folder": "POP3 has no folders",
    "idle": "POP3 has no IDLE",
    "bad-header": "ours takes any message; one that is refused waits in Badmail",
}


def mailboxes(text: str, place: Place) -> Theirs:
    """Read a fetchmailrc; raises Unreadable."""
    found, notes = parsed(text), Notes()
    settings = {option.name: option for option in found.settings}
    for option in found.settings:
        _note(option, notes)
    boxes = [_mailbox(record, settings, place=place, notes=notes) for record in found.records]
    return Theirs(mailboxes=tuple(box for box in boxes if box), notes=notes.in_order())


def _mailbox(record: Record, settings: Mapping[str, Option], *, place: Place, notes: Notes) -> Mailbox | None:
    options = record.options
    if not _is_pop3(record, notes):
        return None
    for option in options.values():
        _note(option, notes)
    host = _text(options, "via") or record.label
    proto = (_text(options, "protocol") or "").lower()
    username = _text(options, "user")
    names = options["names"].values if "names" in options else ()
    if _is_on(options, "keep") and _is_on(options, "fetchall"):
        notes.add(options["fetchall"].line, "fetchall: ours fetches a message that stays once")
    return Mailbox(
        line=record.line,
        name=name_of(username, record.label),
        host=host,
        username=username,
        port=_port(options, notes),
        tls=_tls(options, host=host, line=record.line, notes=notes),
        auth=AuthMethod.APOP if proto == "apop" else _auth(options, notes),
        password=Secret(text) if (text := _text(options, "password")) else None,
        local=_text(options, "smtpname") or (names[0] if len(names) == 1 and names[0] != "*" else None),
        domain=_text(options, "smtpaddress"),
        is_multidrop=proto == "sdps" or len(names) > 1 or "*" in names,
        interval=_interval(options, settings, notes=notes),
        leave=None if _is_on(options, "keep") else timedelta(0),
        is_enabled=not record.is_skipped,
        ca_file=_path(options, "sslcertfile", place=place),
        certificate=_path(options, "sslcert", place=place),
        key=_path(options, "sslkey", place=place) if "sslcert" in options else None,
        fingerprints=_fingerprints(options, notes),
        min_version=_min_version(options, notes),
        relay=_relay(options, notes),
        seen=_seen(settings, place),
    )


def _is_pop3(record: Record, notes: Notes) -> bool:
    if record.label == "defaults":
        notes.add(record.line, "defaults: left out, only those at the beginning of the file count")
        return False
    named = record.options.get("protocol")
    if named is None:
        notes.add(record.line, f"{record.label}: no protocol is named; taken for POP3")
    elif (proto := named.values[0].lower()) not in _POP3:
        notes.add(record.line, f"{record.label}: left out, it is not POP3 but {proto.upper()}")
        return False
    elif proto == "auto":
        notes.add(named.line, f"{record.label}: protocol auto; taken for POP3")
    return True


def _note(option: Option, notes: Notes) -> None:
    """Say of an option that it was not carried over, unless it was or need not be."""
    if option.shown.replace(" ", "-") not in _CARRIED | _AS_OURS:
        why = _WHY_NOT.get(option.shown) or _WHY_NOT.get(option.name) or "there is nothing like it here"
        notes.add(option.line, f"{option.shown}: {why}")


def _port(options: Mapping[str, Option], notes: Notes) -> int | None:
    option = options.get("service") or options.get("port")
    if option is None:
        return None
    text = option.values[0]
    if text in _SERVICES:
        return _SERVICES[text]
    if text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= 65535:
        return int(text)
    notes.add(option.line, f"{option.name} {text}: ours takes a number from 1 to 65535")
    return None


def _tls(options: Mapping[str, Option], *, host: str, line: int, notes: Notes) -> TlsMode:
    proto = options.get("sslproto")
    if (option := options.get("sslcertck")) is not None and not option.is_on:
        notes.add(option.line, "no sslcertck: ours always checks; where that fails, pin it by tls_fingerprint")
    if _is_on(options, "ssl"):
        return TlsMode.IMPLICIT
    if proto is not None and not proto.values[0] and not _is_on(options, "sslcertck"):
        if not is_local(host):
            notes.add(proto.line, "no TLS, as there: see whether the server has it, and set tls")
        return TlsMode.NONE
    if proto is not None or _is_on(options, "sslcertck"):
        return TlsMode.STARTTLS
    if is_local(host):
        return TlsMode.NONE
    notes.add(line, 'TLS where the server has it: ours asks for it; should it have none, set tls = "none"')
    return TlsMode.STARTTLS


def _min_version(options: Mapping[str, Option], notes: Notes) -> str | None:
    option = options.get("sslproto")
    text = option.values[0].lower() if option else ""
    if text.startswith("tls1.3"):
        return TlsVersion.TLS_1_3.value
    if option is not None and text in ("ssl2", "ssl3", "ssl3+", "tls1", "tls1.1"):
        notes.add(option.line, f"sslproto {option.values[0]}: ours speaks TLS 1.2 and newer")
    return None


def _fingerprints(options: Mapping[str, Option], notes: Notes) -> tuple[str, ...]:
    option = options.get("sslfingerprint")
    if option is None:
        return ()
    if found := fingerprint_of(option.values[0]):
        return (found,)
    notes.add(
        option.line, "sslfingerprint: it is an MD5 hash, ours takes SHA-256; `probe` prints it for tls_fingerprint"
    )
    return ()


def _auth(options: Mapping[str, Option], notes: Notes) -> AuthMethod:
    option = options.get("authenticate")
    if option is None:
        return AuthMethod.AUTO
    method = _AUTH.get(option.values[0])
    if method is None:
        notes.add(option.line, f"auth {option.values[0]}: ours has no such login; it takes the strongest that it has")
    return method or AuthMethod.AUTO


def _interval(options: Mapping[str, Option], settings: Mapping[str, Option], *, notes: Notes) -> timedelta | None:
    every = options.get("interval")
    if (daemon := settings.get("daemon")) is None:
        if every is not None:
            notes.add(every.line, "interval: counts the polls of who runs fetchmail, so fetch.interval counts")
        return None
    times = int(every.values[0][:9]) if every else 1
    return interval_of(int(daemon.values[0][:9]) * max(times, 1), notes, line=(every or daemon).line)


def _relay(options: Mapping[str, Option], notes: Notes) -> Relay | None:
    option = options.get("smtphost")
    if option is None or "mda" in options or "bsmtp" in options:
        return None
    text = option.values[0]
    if len(option.values) > 1:
        notes.add(option.line, f"smtphost: ours has one relay; {text} was taken")
    protocol = RelayProtocol.LMTP if _is_on(options, "lmtp") else RelayProtocol.SMTP
    host, _, port = (text, "", "") if text.startswith("/") else text.partition("/")
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port[:9]) <= 65535):
        notes.add(option.line, f"smtphost {text}: ours takes a number for the port; set [smtp] yourself")
        return None
    if protocol is RelayProtocol.LMTP and not port and not host.startswith("/"):
        notes.add(option.line, f"smtphost {text}: lmtp needs a port; set [smtp] yourself")
        return None
    return Relay(host=host, port=int(port) if port else None, protocol=protocol)


def _seen(settings: Mapping[str, Option], place: Place) -> tuple[Path, ...]:
    if "idfile" in settings:
        return (place.path(settings["idfile"].values[0]),)
    return (place.directory / ".fetchids", place.home / ".fetchids", *map(Path, _OF_THE_SYSTEM))


def _text(options: Mapping[str, Option], name: str) -> str | None:
    return options[name].values[0] if name in options else None


def _path(options: Mapping[str, Option], name: str, *, place: Place) -> Path | None:
    text = _text(options, name)
    return place.path(text) if text else None


def _is_on(options: Mapping[str, Option], name: str) -> bool:
    return name in options and options[name].is_on
