"""getmail's rc file, versions 4 to 6: one account, as a `Mailbox`.

What a parameter means is taken from getmail's documentation ("Creating a getmail rc file").
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pipeline.migration.ini import Entry, Section, sections
from pipeline.migration.theirs import (
    Mailbox,
    Notes,
    Place,
    Relay,
    Theirs,
    Unreadable,
    fingerprint_of,
    name_of,
    tls_note,
    words,
)
from stages.secret import Secret
from stages.settings import AuthMethod, RelayProtocol, TlsMode

_POP3 = re.compile(r"(Simple|BrokenUIDL|Multidrop)POP3(SSL)?Retriever|MultidropSDPSRetriever")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'', re.DOTALL)
_TRUE = frozenset({"1", "yes", "true", "on"})
_FALSE = frozenset({"0", "no", "false", "off"})
# In a file's name getmail puts a hyphen in place of these.
_NO_FILE_NAME = re.compile(r"[/\\:;<>|]+")
_CARRIED = {
    "retriever": words(
        """
        type server port username password password_command use_apop use_xoauth2 ca_certs certfile keyfile
        ssl_fingerprints
        """
    ),
    "options": words("delete delete_after read_all verbose to_oldmail_on_each_mail mark_read received"),
    "destination": frozenset({"type"}),
}
_WHY_NOT = {
    "timeout": "see fetch.timeout, for all accounts",
    "ssl_version": "ours speaks TLS 1.2 and newer; see tls_min_version",
    "ssl_ciphers": "ours takes the ciphers of the system",
    "ssl_cert_hostname": "ours checks the certificate for the name in host",
    "envelope_recipient": "ours delivers all mail of a mailbox to one destination",
    "max_message_size": "one limit is for all accounts: fetch.max_message_size; by default the relay's own",
    "max_messages_per_session": "see fetch.max_messages_per_session, for all accounts",
    "max_bytes_per_session": "a session ends after 256 MiB, and another follows",
    "delete_bigger_than": "ours deletes by age alone: leave_on_server",
    "delivered_to": "ours adds no Delivered-To",
    "message_log": "see `events`",
    "message_log_syslog": "see `events`",
    "message_log_verbose": "see `events`",
    "use_netrc": "give the password in the file, or password_command",
    "netrc_file": "give the password in the file, or password_command",
    "delete_dup_msgids": "ours compares messages under one UIDL, and deletes none unread",
}


def mailboxes(text: str, place: Place) -> Theirs:
    """Read a getmailrc; raises Unreadable."""
    found, notes = sections(text), Notes()
    retriever = found.get("retriever")
    if retriever is None or "type" not in retriever.entries:
        raise Unreadable(retriever.line if retriever else 1, "there is no [retriever] with a type")
    kind = retriever.entries["type"]
    match = _POP3.fullmatch(kind.value)
    if match is None:
        notes.add(kind.line, f"{kind.value}: left out, it is not a POP3 retriever")
        return Theirs(mailboxes=(), notes=notes.in_order())
    _note_all(found, notes)
    return Theirs(
        mailboxes=(_mailbox(match, found, retriever=retriever, place=place, notes=notes),), notes=notes.in_order()
    )


def _mailbox(
    match: re.Match[str], found: Mapping[str, Section], *, retriever: Section, place: Place, notes: Notes
) -> Mailbox:
    entries = retriever.entries
    is_tls = match[2] is not None
    host = _value(entries, "server")
    if host is None:
        raise Unreadable(retriever.line, "[retriever] has no server")
    username = _value(entries, "username")
    port = _port(entries)
    if match[1] == "BrokenUIDL":
        text = "a server without UIDL: ours tells messages apart by content there, and cannot leave them on the server"
        notes.add(entries["type"].line, text)
    command = _strings(entries, "password_command")
    options = found["options"].entries if "options" in found else {}
    return Mailbox(
        line=retriever.line,
        name=name_of(username, host),
        host=host,
        username=username,
        port=port,
        tls=TlsMode.IMPLICIT if is_tls else TlsMode.NONE,
        auth=_auth(entries),
        password=Secret(password) if (password := _value(entries, "password")) else None,
        command=shlex.join(command) if command else None,
        local=_override(found),
        is_multidrop=match[1] == "Multidrop" or match[0] == "MultidropSDPSRetriever",
        leave=_leave(options, notes, line=retriever.line),
        ca_file=_path(entries, "ca_certs", place=place),
        certificate=_path(entries, "certfile", place=place),
        key=_path(entries, "keyfile", place=place),
        fingerprints=_trust(entries, notes, line=retriever.line, tls_of=host if not is_tls else None),
        relay=_relay(found, notes),
        seen=tuple(
            directory / _oldmail(host, port or (995 if is_tls else 110), username=username or "")
            for directory in (place.directory, place.home / ".config/getmail", place.home / ".getmail")
        ),
    )


def _oldmail(host: str, port: int, *, username: str) -> str:
    return _NO_FILE_NAME.sub("-", f"oldmail-{host}-{port}-{username}")


def _note_all(found: Mapping[str, Section], notes: Notes) -> None:
    for name, section in found.items():
        if name not in _CARRIED:
            notes.add(section.line, f"[{name}]: there is nothing like it here")
            continue
        for key, entry in section.entries.items():
            if key not in _CARRIED[name] and name != "destination":
                notes.add(entry.line, f"{key}: {_WHY_NOT.get(key, 'there is nothing like it here')}")


def _auth(entries: Mapping[str, Entry]) -> AuthMethod:
    if _is_true(entries, "use_xoauth2"):
        return AuthMethod.XOAUTH2
    return AuthMethod.APOP if _is_true(entries, "use_apop") else AuthMethod.AUTO


def _leave(options: Mapping[str, Entry], notes: Notes, *, line: int) -> timedelta | None:
    """How long mail stays; getmail leaves it where it is unless it is told to delete."""
    if _is_true(options, "read_all") and not _is_true(options, "delete"):
        notes.add(options["read_all"].line, "read_all: ours fetches a message that stays once")
    if _is_true(options, "delete"):
        return timedelta(0)
    days = _number(options, "delete_after")
    if days:
        return timedelta(days=min(days, 36500))
    if "delete" not in options:
        notes.add(line, "without delete getmail leaves all mail on the server: so does leave_on_server = true")
    return None


def _trust(entries: Mapping[str, Entry], notes: Notes, *, line: int, tls_of: str | None) -> tuple[str, ...]:
    """The fingerprints; says where the connection was not trusted as ours is. `tls_of` is a host without TLS."""
    if tls_of is not None and (text := tls_note(tls_of)):
        notes.add(line, text)
    prints = _strings(entries, "ssl_fingerprints")
    found = [fingerprint_of(text) for text in prints]
    if None in found:
        notes.add(entries["ssl_fingerprints"].line, "ssl_fingerprints: ours takes SHA-256; `probe` prints it")
    if tls_of is None and not prints and "ca_certs" not in entries:
        notes.add(
            line, "without ca_certs getmail checks no certificate: ours does; where that fails, see tls_fingerprint"
        )
    return tuple(text for text in found if text)


def _relay(found: Mapping[str, Section], notes: Notes) -> Relay | None:
    """The server of an MDA_lmtp; all else that getmail delivers to is none."""
    section = found.get("destination")
    kind = section.entries.get("type") if section else None
    if section is None or kind is None:
        return None
    host = _value(section.entries, "host")
    if kind.value != "MDA_lmtp" or not host:
        notes.add(kind.line, f"{kind.value}: ours delivers by SMTP or LMTP; see [smtp], and give --deliver-to")
        return None
    if "fallback" in section.entries:
        notes.add(section.entries["fallback"].line, "fallback: what the relay refuses waits in Badmail")
    port = _number(section.entries, "port")
    if not host.startswith("/") and not port:
        notes.add(kind.line, "MDA_lmtp without a port: set [smtp] yourself")
        return None
    return Relay(host=host, port=None if host.startswith("/") else port, protocol=RelayProtocol.LMTP)


def _override(found: Mapping[str, Section]) -> str | None:
    section = found.get("destination")
    return _value(section.entries, "override") if section else None


def _value(entries: Mapping[str, Entry], key: str) -> str | None:
    return entries[key].value if key in entries and entries[key].value else None


def _path(entries: Mapping[str, Entry], key: str, *, place: Place) -> Path | None:
    text = _value(entries, key)
    return place.path(text) if text else None


def _is_true(entries: Mapping[str, Entry], key: str) -> bool:
    entry = entries.get(key)
    if entry is None:
        return False
    word = entry.value.lower()
    if word not in _TRUE | _FALSE:
        raise Unreadable(entry.line, f"{key} is neither true nor false")
    return word in _TRUE


def _number(entries: Mapping[str, Entry], key: str) -> int | None:
    entry = entries.get(key)
    if entry is None or not entry.value:
        return None
    if not (entry.value.isascii() and entry.value.isdecimal() and len(entry.value) < 10):
        raise Unreadable(entry.line, f"{key} is not a number")
    return int(entry.value)


def _port(entries: Mapping[str, Entry]) -> int | None:
    port = _number(entries, "port")
    if port is not None and not 0 < port <= 65535:
        raise Unreadable(entries["port"].line, "port is not one from 1 to 65535")
    return port


def _strings(entries: Mapping[str, Entry], key: str) -> tuple[str, ...]:
    """A tuple of quoted strings, as Python writes it."""
    entry = entries.get(key)
    if entry is None or not entry.value:
        return ()
    if not (entry.value.startswith("(") and entry.value.endswith(")")):
        raise Unreadable(entry.line, f"{key} is not a tuple of quoted strings")
    left = _STRING.sub("", entry.value[1:-1])
    if left.strip(", \t\n"):
        raise Unreadable(entry.line, f"{key} is not a tuple of quoted strings")
    return tuple(
        re.sub(r"\\(.)", r"\1", match[1] if match[1] is not None else match[2])
        for match in _STRING.finditer(entry.value[1:-1])
    )
