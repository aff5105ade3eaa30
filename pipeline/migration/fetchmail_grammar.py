"""The grammar of a fetchmailrc: `set` statements, and records of a server with one user each.

It follows fetchmail's manual ("The Run Control File") and its grammar: server options stand before the first user, user
options behind it; a server without a user is one record all the same. What a record leaves out it takes from
`defaults`, where the file begins with them.

**Failures:** `Unreadable`, where fetchmail too would refuse the file.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.migration.fetchmail_tokens import Kind, Token, Tokens
from pipeline.migration.theirs import Unreadable


class Takes(enum.Enum):
    """What stands behind an option."""

    NOTHING = "nothing"
    STRING = "a string"
    NUMBER = "a number"
    EITHER = "a string or number"
    STRINGS = "strings"
    NUMBERS = "numbers"
    WORD = "a keyword"
    NAME = "a name"
    HEADER = "a header's name"
    NAMES = "names"


def _all(takes: Takes, words: str) -> dict[str, Takes]:
    return dict.fromkeys(words.split(), takes)


SET = {
    **_all(Takes.STRING, "logfile idfile pidfile postmaster properties"),
    **_all(Takes.NUMBER, "daemon"),
    **_all(Takes.NOTHING, "bouncemail spambounce softbounce syslog invisible showdots"),
}
SERVER = {
    **_all(Takes.STRINGS, "aka localdomains"),
    **_all(Takes.STRING, "via principal esmtpname esmtppassword qvirtual interface monitor plugin plugout"),
    **_all(Takes.WORD, "protocol authenticate bad-header"),
    **_all(Takes.NUMBER, "port interval timeout"),
    **_all(Takes.EITHER, "service"),
    **_all(Takes.HEADER, "envelope"),
    **_all(Takes.NOTHING, "uidl checkalias dns tracepolls"),
}
USER = {
    **_all(Takes.NAME, "password"),
    **_all(Takes.NAMES, "is to"),
    **_all(Takes.STRINGS, "folder smtphost fetchdomains"),
    **_all(Takes.STRING, "smtpaddress smtpname mda bsmtp preconnect postconnect properties passwordfile"),
    **_all(Takes.STRING, "sslkey sslcert sslproto sslcertfile sslcertpath sslcommonname sslfingerprint"),
    **_all(Takes.NUMBERS, "antispam"),
    **_all(Takes.NUMBER, "limit warnings fetchlimit fetchsizelimit fastuidl batchlimit expunge"),
    **_all(Takes.NOTHING, "lmtp keep flush limitflush fetchall rewrite forcecr stripcr pass8bits dropstatus"),
    **_all(Takes.NOTHING, "dropdelivered mimedecode idle forceidle ssl sslcertck"),
}
_ALIASES = {
    "local": "localdomains",
    "proto": "protocol",
    "auth": "authenticate",
    "preauth": "authenticate",
    "preauthenticate": "authenticate",
    "pass": "password",
    "folders": "folder",
    "smtp": "smtphost",
    "pre": "preconnect",
    "post": "postconnect",
    "pass8": "pass8bits",
    "mimedec": "mimedecode",
}
_USER = frozenset({"user", "username"})
_SERVERS = frozenset({"poll", "server", "skip", "defaults"})
_KEYWORDS = frozenset({*SET, *SERVER, *USER, *_ALIASES, *_USER, *_SERVERS, "set", "no", "here", "there"})
# What may stand behind `no`, and be one word with it.
_NEGATED = frozenset(
    {"envelope", *(name for table in (SET, SERVER, USER) for name, takes in table.items() if takes is Takes.NOTHING)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option as it stands in the file; `values` are its arguments, `is_on` False behind `no`."""

    name: str
    line: int
    values: tuple[str, ...] = ()
    is_on: bool = True

    @property
    def shown(self) -> str:
        """How a note names it."""
        return self.name if self.is_on else f"no {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One user of one server; `label` is the name behind `poll`. Of an option that stands there twice the last counts.

    The remote user is the option `user`, the local names are the option `names`, in which `*` stands for all others.
    """

    label: str
    line: int
    is_skipped: bool
    options: Mapping[str, Option]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A fetchmailrc, with its defaults worked in."""

    settings: tuple[Option, ...]
    records: tuple[Record, ...]


def parsed(text: str) -> Parsed:
    """Read a fetchmailrc; raises Unreadable."""
    reader = _Reader(Tokens(text))
    reader.read()
    records = reader.records
    if records and records[0].label == "defaults" and reader.has_defaults:
        defaults = records[0].options
        records = [
            Record(
                label=record.label,
                line=record.line,
                is_skipped=record.is_skipped,
                options={**defaults, **record.options},
            )
            for record in records[1:]
        ]
    return Parsed(settings=tuple(reader.settings), records=tuple(records))


class _Reader:
    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.settings: list[Option] = []
        self.records: list[Record] = []
        self.has_defaults = False
        # `no` was taken, and what it belongs to was not.
        self._is_negated = False

    def read(self) -> None:
        while (token := self._tokens.take()).kind is not Kind.END:
            if token.kind is not Kind.WORD:
                raise _unexpected(token)
            if token.text == "set":
                self._set()
            elif token.text in _SERVERS:
                self._server(token)
            else:
                raise _unexpected(token)

    def _set(self) -> None:
        option = self._option(SET)
        if option is None:
            raise _unexpected(self._tokens.peek())
        self.settings.append(option)

    def _server(self, first: Token) -> None:
        label = "defaults"
        if first.text == "defaults":
            self.has_defaults = self.has_defaults or not self.records
        else:
            label = self._string()
        server: dict[str, Option] = {}
        while (option := self._option(SERVER)) is not None:
            server[option.name] = option
        users = self._users()
        if self._name(self._tokens.peek()) in SERVER:
            token = self._tokens.peek()
            raise Unreadable(token.line, f"the server's option {token.text!r} stands behind a user's options")
        for line, options in users or [(first.line, {})]:
            self.records.append(
                Record(
                    label=label,
                    line=line if len(users) > 1 else first.line,
                    is_skipped=first.text == "skip",
                    options={**server, **options},
                )
            )

    def _users(self) -> list[tuple[int, dict[str, Option]]]:
        """The users of a server, each with its options."""
        users: list[tuple[int, dict[str, Option]]] = []
        if not self._is_user():
            line, options = self._tokens.peek().line, self._user_options({})
            return [(line, options)] if options else []
        while self._is_user():
            line = self._tokens.take().line
            users.append((line, self._user_options(self._definition(line))))
        return users

    def _is_user(self) -> bool:
        token = self._tokens.peek()
        return token.kind is Kind.WORD and token.text in _USER

    def _definition(self, line: int) -> dict[str, Option]:
        """Behind `user`: the remote user, or, with `here` behind them, local names."""
        names = self._names()
        if self._took("here"):
            return {"names": Option(name="names", line=line, values=tuple(names))}
        if len(names) > 1:
            raise Unreadable(line, "several names behind `user`, and no `here` behind them")
        self._took("there")
        return {"user": Option(name="user", line=line, values=tuple(names))}

    def _user_options(self, options: dict[str, Option]) -> dict[str, Option]:
        names = list(options["names"].values) if "names" in options else []
        while (option := self._option(USER)) is not None:
            if option.name not in ("is", "to"):
                options[option.name] = option
            elif self._took("there"):
                options["user"] = Option(name="user", line=option.line, values=option.values)
            else:
                self._took("here")
                names += option.values
                options.setdefault("names", Option(name="names", line=option.line))
        if names:
            options["names"] = Option(name="names", line=options["names"].line, values=tuple(names))
        return options

    def _option(self, table: Mapping[str, Takes]) -> Option | None:
        """The option that comes next, if it is one of the table's."""
        self._is_negated = self._is_negated or self._took("no")
        token = self._tokens.peek()
        name, is_on = self._name(token), not self._is_negated
        if self._is_negated and name not in _NEGATED:
            raise _unexpected(token)
        if name is not None and name not in table and name.removeprefix("no") in _NEGATED:
            name, is_on = name.removeprefix("no"), False
        if name is None or name not in table:
            return None
        self._is_negated = False
        self._tokens.take()
        values = self._values(table[name], is_global=table is SET) if is_on else ()
        return Option(name=name, line=token.line, values=values, is_on=is_on)

    def _values(self, takes: Takes, *, is_global: bool) -> tuple[str, ...]:
        match takes:
            case Takes.NOTHING:
                return ()
            case Takes.NAME:
                return (self._one_name(),)
            case Takes.NAMES:
                return tuple(self._names())
            case Takes.STRINGS:
                return tuple(self._several(Takes.STRING))
            case Takes.NUMBERS:
                return tuple(self._several(Takes.NUMBER))
            case Takes.HEADER:
                skipped = [self._tokens.take().text] if self._tokens.peek().kind is Kind.NUMBER else []
                return (*skipped, self._string())
            case _:
                if is_global and self._tokens.peek().kind is Kind.MAP:
                    self._tokens.take()
                return (self._one(takes),)

    def _several(self, takes: Takes) -> list[str]:
        found = [self._one(takes)]
        while _fits(self._tokens.peek(), takes):
            found.append(self._tokens.take().text)
        return found

    def _one(self, takes: Takes) -> str:
        token = self._tokens.take()
        if not _fits(token, takes):
            raise Unreadable(token.line, f"{takes.value} is wanted where {_shown(token)} stands")
        return token.text

    def _string(self) -> str:
        return self._one(Takes.STRING)

    def _names(self) -> list[str]:
        """Local names, or one remote name; of `theirs = ours` ours counts."""
        names = [self._mapped(self._one_name())]
        while _fits(self._tokens.peek(), Takes.STRING):
            names.append(self._mapped(self._tokens.take().text))
        return names

    def _mapped(self, name: str) -> str:
        if self._tokens.peek().kind is not Kind.MAP:
            return name
        self._tokens.take()
        return self._one_name()

    def _one_name(self) -> str:
        token = self._tokens.take_name()
        if token.kind is not Kind.STRING:
            raise Unreadable(token.line, f"a name is wanted where {_shown(token)} stands")
        return token.text

    def _took(self, word: str) -> bool:
        token = self._tokens.peek()
        if token.kind is Kind.WORD and token.text == word:
            self._tokens.take()
            return True
        return False

    def _name(self, token: Token) -> str | None:
        """The option that a token begins, by its full name."""
        return _ALIASES.get(token.text, token.text) if token.kind is Kind.WORD else None


def _fits(token: Token, takes: Takes) -> bool:
    is_string = token.kind is Kind.STRING or (token.kind is Kind.WORD and not _is_keyword(token.text))
    match takes:
        case Takes.NUMBER:
            return token.kind is Kind.NUMBER
        case Takes.EITHER:
            return is_string or token.kind is Kind.NUMBER
        case Takes.WORD:
            return token.kind is Kind.WORD
        case _:
            return is_string


def _is_keyword(word: str) -> bool:
    return word in _KEYWORDS or (word.startswith("no") and word[2:] in _NEGATED)


def _unexpected(token: Token) -> Unreadable:
    return Unreadable(token.line, f"{_shown(token)} is not expected here")


def _shown(token: Token) -> str:
    """A token as an error quotes it: what is no keyword may be a part of a password."""
    if token.kind is Kind.END:
        return "the end of the file"
    is_known = token.kind is Kind.MAP or (token.kind is Kind.WORD and _is_keyword(token.text))
    return repr(token.text) if is_known else "a string"
