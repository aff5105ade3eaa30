"""mpop's configuration: its accounts, with what they inherit, as `Mailbox`es.

What a command means is taken from mpop's manual ("Configuration file").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pipeline.migration.theirs import Mailbox, Notes, Place, Theirs, Unreadable, fingerprint_of, tls_note, words
from stages.secret import Secret
from stages.settings import AuthMethod, TlsMode

_DURATION = re.compile(r"\s*([0-9]{1,9})([dhms])")
_BLANKS = re.compile(r"[ \t]+")
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_AUTH = {
    "": AuthMethod.AUTO,
    "on": AuthMethod.AUTO,
    "user": AuthMethod.BASIC,
    "apop": AuthMethod.APOP,
    "plain": AuthMethod.PLAIN,
    "login": AuthMethod.LOGIN,
    "cram-md5": AuthMethod.CRAM_MD5,
    "ntlm": AuthMethod.NTLM,
    "scram-sha-1": AuthMethod.SCRAM_SHA_1,
    "scram-sha-256": AuthMethod.SCRAM_SHA_256,
    "xoauth2": AuthMethod.XOAUTH2,
    "oauthbearer": AuthMethod.OAUTHBEARER,
}
_CARRIED = words(
    """
    host port user password passwordeval auth tls tls_starttls tls_trust_file tls_fingerprint tls_cert_file tls_key_file
    keep uidls_file tls_certcheck only_new socket
    """
)
_AS_OURS = words("pipelining received_header tls_force_sslv3")
_WHY_NOT = {
    "delivery": "ours delivers by SMTP or LMTP; see [smtp], and give --deliver-to",
    "killsize": "ours never deletes what is too large; see fetch.oversize",
    "skipsize": "one limit is for all accounts: fetch.max_message_size; by default the relay's own",
    "filter": "ours filters nothing: what it skipped or killed is fetched",
    "timeout": "see fetch.timeout, for all accounts",
    "ntlmdomain": 'write the domain into username: "DOMAIN\\\\user"',
    "tls_crl_file": "ours asks no list of revoked certificates",
    "tls_min_dh_prime_bits": "ours takes what the system's TLS takes",
    "tls_priorities": "ours takes what the system's TLS takes; see tls_min_version",
    "tls_host_override": "ours checks the certificate for the name in host",
    "proxy_host": "ours connects by itself",
    "proxy_port": "ours connects by itself",
    "source_ip": "ours lets the system choose its address",
    "eval": "its command is not run here; write into the file what it prints",
}
_WHY_NOT_OFF = {
    "only_new": "ours fetches a message that stays once",
    "tls_certcheck": "ours always checks; where that fails, pin it by tls_fingerprint",
}
# No account has more of them than these: what one inherits is copied.
_KNOWN = _CARRIED | _WHY_NOT.keys()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    line: int
    argument: str


@dataclass(slots=True, kw_only=True)
class _Account:
    line: int
    name: str
    commands: dict[str, _Command] = field(default_factory=dict)
    own: dict[str, _Command] = field(default_factory=dict)


def mailboxes(text: str, place: Place) -> Theirs:
    """Read an mpoprc; raises Unreadable."""
    notes = Notes()
    accounts = _accounts(text, notes)
    used = {account.name for account in accounts if "host" in account.commands}
    boxes = [_mailbox(account, place=place, notes=notes) for account in accounts]
    for account in accounts:
        if account.name not in used and "socket" not in account.commands:
            notes.add(account.line, f"account {account.name}: left out, it has no host")
    return Theirs(mailboxes=tuple(box for box in boxes if box), notes=notes.in_order())


def _accounts(text: str, notes: Notes) -> Sequence[_Account]:
    """The accounts with all that they inherit."""
    defaults: dict[str, _Command] = {}
    accounts: dict[str, _Account] = {}
    own: dict[str, _Command] | None = None
    commands = defaults
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.removesuffix("\r").strip(" \t")
        if not bare or bare.startswith("#"):
            continue
        name, rest = _BLANKS.split(bare, maxsplit=1) if _BLANKS.search(bare) else (bare, "")
        argument = _unquoted(rest)
        if name == "defaults":
            own, commands = {}, defaults
        elif name == "account":
            account = _begun(number, argument, accounts=accounts, defaults=defaults)
            own, commands = account.own, account.commands
        elif own is None:
            raise Unreadable(number, "neither `account` nor `defaults` stands before it")
        elif name in _KNOWN:
            own[name] = commands[name] = _Command(line=number, argument=argument)
        elif name not in _AS_OURS:
            notes.add(number, f"{name[:40]}: it is no command of mpop's that is known here")
    return list(accounts.values())


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text


def _begun(line: int, argument: str, *, accounts: dict[str, _Account], defaults: Mapping[str, _Command]) -> _Account:
    name, colon, parents = argument.partition(":")
    name = name.strip(" \t")
    if not name or "," in name:
        raise Unreadable(line, "account: a name is wanted, without colon or comma")
    if name in accounts:
        raise Unreadable(line, f"account {name[:40]} stands there twice")
    commands = dict(defaults)
    for parent in map(_unquoted, (part.strip(" \t") for part in parents.split(","))) if colon else ():
        if parent not in accounts:
            raise Unreadable(line, f"account {parent[:40]!r} is not defined above")
        # What the parent has from the defaults is no setting of its own.
        commands |= accounts[parent].own
    inherited = {key: command for key, command in commands.items() if defaults.get(key) != command}
    accounts[name] = _Account(line=line, name=name, commands=commands, own=inherited)
    return accounts[name]


def _mailbox(account: _Account, *, place: Place, notes: Notes) -> Mailbox | None:
    commands = account.commands
    _note_all(account, notes)
    if "socket" in commands and commands["socket"].argument:
        notes.add(
            commands["socket"].line, f"account {account.name}: left out, ours does not speak POP3 by a UNIX socket"
        )
        return None
    host = _argument(commands, "host")
    if not host:
        return None
    username = _argument(commands, "user")
    return Mailbox(
        line=account.line,
        name=account.name,
        host=host,
        username=username,
        port=_port(commands),
        tls=_tls(account, host=host, notes=notes),
        auth=_auth(commands, notes),
        password=Secret(text) if (text := _argument(commands, "password")) else None,
        command=_argument(commands, "passwordeval"),
        leave=_leave(commands),
        ca_file=_ca_file(commands, place),
        certificate=_path(commands, "tls_cert_file", place=place),
        key=_path(commands, "tls_key_file", place=place),
        fingerprints=_fingerprints(commands, notes),
        seen=(_uidls_file(commands, host=host, username=username or "", place=place),),
    )


def _note_all(account: _Account, notes: Notes) -> None:
    for name, command in account.commands.items():
        if name in _WHY_NOT:
            notes.add(command.line, f"{name}: {_WHY_NOT[name]}")
        elif name in _WHY_NOT_OFF and not _is_on(command, name):
            notes.add(command.line, f"{name} off: {_WHY_NOT_OFF[name]}")


def _tls(account: _Account, *, host: str, notes: Notes) -> TlsMode:
    tls, starttls = account.commands.get("tls"), account.commands.get("tls_starttls")
    if tls is None or not _is_on(tls, "tls"):
        if text := tls_note(host):
            notes.add(tls.line if tls else account.line, text)
        return TlsMode.NONE
    is_implicit = starttls is not None and not _is_on(starttls, "tls_starttls")
    return TlsMode.IMPLICIT if is_implicit else TlsMode.STARTTLS


def _is_on(command: _Command, name: str) -> bool:
    if command.argument not in ("", "on", "off"):
        raise Unreadable(command.line, f"{name} is neither on nor off")
    return command.argument != "off"


def _auth(commands: Mapping[str, _Command], notes: Notes) -> AuthMethod:
    command = commands.get("auth")
    if command is None:
        return AuthMethod.AUTO
    method = _AUTH.get(command.argument.lower().removesuffix("-plus"))
    if method is None:
        notes.add(command.line, f"auth {command.argument}: ours has no such login; it takes the strongest that it has")
    return method or AuthMethod.AUTO


def _leave(commands: Mapping[str, _Command]) -> timedelta | None:
    command = commands.get("keep")
    if command is None or command.argument == "off":
        return timedelta(0)
    if command.argument in ("", "on"):
        return None
    seconds, at = 0, 0
    while part := _DURATION.match(command.argument, at):
        seconds += int(part[1]) * _SECONDS[part[2]]
        at = part.end()
    if command.argument[at:].strip():
        raise Unreadable(command.line, "keep is neither on, off nor a duration")
    return timedelta(seconds=min(seconds, 36500 * 86400))


def _path(commands: Mapping[str, _Command], name: str, *, place: Place) -> Path | None:
    text = _argument(commands, name)
    return place.path(text) if text else None


def _ca_file(commands: Mapping[str, _Command], place: Place) -> Path | None:
    text = _argument(commands, "tls_trust_file")
    return place.path(text) if text and text != "system" else None


def _fingerprints(commands: Mapping[str, _Command], notes: Notes) -> tuple[str, ...]:
    command = commands.get("tls_fingerprint")
    if command is None or not command.argument:
        return ()
    if found := fingerprint_of(command.argument):
        return (found,)
    notes.add(command.line, "tls_fingerprint: it is SHA-1 or MD5, ours takes SHA-256; `probe` prints it")
    return ()


def _port(commands: Mapping[str, _Command]) -> int | None:
    command = commands.get("port")
    if command is None:
        return None
    text = command.argument
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= 65535):
        raise Unreadable(command.line, "port is not a number from 1 to 65535")
    return int(text[:9])


def _uidls_file(commands: Mapping[str, _Command], *, host: str, username: str, place: Place) -> Path:
    text = _argument(commands, "uidls_file") or "~/.mpop_uidls/%U_at_%H"
    # A user name may itself have %H in it: each is put in once.
    parts = {"%U": username, "%H": host}
    return place.path(re.sub("%[UH]", lambda part: parts[part[0]], text))


def _argument(commands: Mapping[str, _Command], name: str) -> str | None:
    return commands[name].argument if name in commands and commands[name].argument else None
