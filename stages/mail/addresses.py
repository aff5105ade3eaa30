"""Read addresses out of header values, and hold them to the grammar of the envelope.

Two grammars meet here. A header is written by RFC 5322 section 3.4 (comments, display names, groups, routes, obsolete
spacing); an envelope takes only RFC 5321 section 4.1.2 and RFC 6531. What is read by the first is returned only if it
passes the second.

**Invariants:** total on any octets and linear in their length. The text of an `Address` has no control character and
nothing that was not valid UTF-8; outside a quoted local part it has no space and no `<` or `>` either.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

# RFC 5321 section 4.5.3.1; the path's 256 include its angle brackets.
MAX_LOCAL_OCTETS = 64
MAX_DOMAIN_OCTETS = 255
MAX_PATH_OCTETS = 256
_MAX_LABEL_OCTETS = 63
# Of one mailbox with its display name: a path of 256 octets, a route, and more words than any name has.
_MAX_TOKENS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A mailbox in the form that SMTP sends; `local` is quoted where it must be, and only there."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """Whether RFC 6531 is needed to send it; a domain in A-labels alone does not."""
        return not (self.local.isascii() and self.domain.isascii())


@dataclass(frozen=True, slots=True)
class NullPath:
    """`<>`: the path that nothing is returned to (RFC 5321 section 4.5.5)."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """No address; `reason` is in our own words and quotes nothing."""

    reason: str


Parsed = Address | NullPath | Malformed
# A good local part alone, and no default domain to complete it.
NO_DOMAIN = Malformed("no domain")


def mailboxes(value: bytes, default_domain: str | None = None) -> Iterator[Parsed]:
    """Every mailbox of an unfolded address list, also those in groups; a bare local part gets the default domain."""
    return (_mailbox(element, default_domain) for element in _elements(value))


def first_mailbox(value: bytes, default_domain: str | None = None) -> Parsed:
    """The first mailbox of an unfolded address list."""
    bare: Parsed | None = None
    for element in _elements(value):
        found = _mailbox(element, default_domain)
        if bare is None and all(token.kind in _PHRASE for token in element):
            bare = found
            continue
        # `Smith, John <john@example.org>`: a display name that should have been quoted, not a mailbox named Smith.
        return found if bare is None or element[0].kind in _PHRASE else bare
    return bare or Malformed("no mailbox")


def leading_path(value: bytes, default_domain: str | None = None) -> Parsed:
    """The path that a value begins with, whatever follows it: X-Sender lines have ESMTP parameters there."""
    if not value.startswith(b"<"):
        bare = value.replace(b"\t", b" ").partition(b" ")[0]
        return _mailbox(list(_tokens(_text(bare))), default_domain)
    path: list[_Token] = []
    for token in _tokens(_text(value)):
        path.append(token)
        if token.kind is _Kind.CLOSE:
            break
    return _mailbox(path, default_domain)


class _Kind(Enum):
    ATOM = "atom"
    QUOTED = "quoted"
    LITERAL = "literal"
    DOT = "."
    AT = "@"
    OPEN = "<"
    CLOSE = ">"
    COMMA = ","
    COLON = ":"
    SEMICOLON = ";"
    FAULT = "fault"


class _Token(NamedTuple):
    kind: _Kind
    text: str


_WORDS = frozenset({_Kind.ATOM, _Kind.QUOTED})
_PHRASE = _WORDS | {_Kind.DOT}
# Each alternative begins with a character of its own and repeats over disjoint sets: matching cannot backtrack far.
_TOKEN = re.compile(
    r"""[ \t]+
    | (?P<ATOM>[^\x00-\x20\x7f()<>\[\]:;@\\,."]+)
    | "(?P<QUOTED>[^"\\]*(?:\\.[^"\\]*)*)"
    | (?P<LITERAL>\[[^\[\]\\]*\])
    | (?P<SPECIAL>[.@<>,:;])
    """,
    re.VERBOSE | re.DOTALL,
)
_IN_COMMENT = re.compile(r"\\.|[()]", re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_MUST_QUOTE = re.compile(r'(["\\])')
_DOT_STRING = re.compile(r'[^ ()<>\[\]:;@\\,."]+(?:\.[^ ()<>\[\]:;@\\,."]+)*')
_LDH_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
# RFC 5892 appendix A: these are allowed in a U-label, in certain company, though no letter or digit.
_CONTEXTUAL = frozenset("-\u00b7\u0375\u05f3\u05f4\u200c\u200d\u30fb")


def _text(value: bytes) -> str:
    # Old display names are often Latin-1: what is not UTF-8 survives as surrogates, which no address may contain.
    return value.decode("utf-8", "surrogateescape")


def _elements(value: bytes) -> Iterator[list[_Token]]:
    """Split a list at its commas, and groups from their names; empty elements are left out (RFC 5322 section 4.4)."""
    element: list[_Token] = []
    is_in_path = False
    for token in _tokens(_text(value)):
        if token.kind in (_Kind.OPEN, _Kind.CLOSE):
            is_in_path = token.kind is _Kind.OPEN
        elif not is_in_path and token.kind in (_Kind.COMMA, _Kind.SEMICOLON):
            if element:
                yield element
            element = []
            continue
        elif not is_in_path and token.kind is _Kind.COLON and all(part.kind in _PHRASE for part in element):
            element = []  # it was the name of a group
            continue
        element.append(token)
        if len(element) > _MAX_TOKENS:
            yield [_Token(_Kind.FAULT, "more words than an address can have")]
            return
    if element:
        yield element


def _tokens(text: str) -> Iterator[_Token]:
    """The tokens of RFC 5322 section 3.2 without white space and comments; a fault is the last one."""
    position = 0
    while position < len(text):
        if text[position] == "(":
            position = _end_of_comment(text, position)
            if not position:
                yield _Token(_Kind.FAULT, "a comment is not closed")
                return
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            yield _Token(_Kind.FAULT, _fault(text[position]))
            return
        position = match.end()
        if match.lastgroup == "SPECIAL":
            yield _Token(_Kind(match[0]), match[0])
        elif match.lastgroup:
            yield _Token(_Kind[match.lastgroup], match[match.lastgroup])


def _end_of_comment(text: str, start: int) -> int:
    depth = 0
    for match in _IN_COMMENT.finditer(text, start):
        if match[0] == "(":
            depth += 1
        elif match[0] == ")":
            depth -= 1
            if not depth:
                return match.end()
    return 0


def _fault(character: str) -> str:
    match character:
        case '"':
            return "a quoted string is not closed"
        case "[" | "]":
            return "a square bracket has no partner"
        case ")":
            return "a closing parenthesis has no partner"
        case "\\":
            return "a backslash outside a quoted string"
        case _:
            return "a control character"


def _mailbox(element: list[_Token], default_domain: str | None) -> Parsed:
    if element and element[-1].kind is _Kind.FAULT:
        return Malformed(element[-1].text)
    kinds = [token.kind for token in element]
    if _Kind.OPEN not in kinds:
        return _addr_spec(element, default_domain)
    start = kinds.index(_Kind.OPEN) + 1
    if _Kind.CLOSE not in kinds[start:]:
        return Malformed("an angle bracket is not closed")
    end = kinds.index(_Kind.CLOSE, start)
    if end + 1 < len(kinds):
        return Malformed("text behind the closing angle bracket")
    if start == end:
        return NullPath()
    if kinds[start] is _Kind.AT and _Kind.COLON in kinds[start:end]:
        # RFC 5321 appendix C: a source route is accepted and ignored.
        start = kinds.index(_Kind.COLON, start) + 1
    return _addr_spec(element[start:end], default_domain)


def _addr_spec(tokens: list[_Token], default_domain: str | None) -> Address | Malformed:
    kinds = [token.kind for token in tokens]
    has_domain = _Kind.AT in kinds
    at = kinds.index(_Kind.AT) if has_domain else len(kinds)
    local = _local_part(tokens[:at])
    if isinstance(local, Malformed):
        return local
    if has_domain:
        domain = _domain(tokens[at + 1 :])
    elif default_domain is None:
        return NO_DOMAIN
    elif local.startswith("=?") and local.endswith("?="):
        # RFC 2047 section 5: an encoded word is a display name here and never part of an address.
        return Malformed("a display name without an address")
    else:
        domain = default_domain
    if isinstance(domain, Malformed):
        return domain
    if len(f"<{local}@{domain}>".encode()) > MAX_PATH_OCTETS:
        return Malformed(f"longer than {MAX_PATH_OCTETS} octets")
    return Address(local=local, domain=domain)


def _local_part(tokens: list[_Token]) -> str | Malformed:
    if not tokens:
        return Malformed("no local part")
    if not _is_dotted(tokens, _WORDS):
        return Malformed("the local part is not words joined by single dots")
    content = "".join(
        _QUOTED_PAIR.sub(r"\1", token.text) if token.kind is _Kind.QUOTED else token.text for token in tokens
    )
    if not content:
        return Malformed("no local part")
    if not _is_clean(content):
        return Malformed("the local part has a control character or is not UTF-8")
    # RFC 5321 section 4.1.2: quote only what cannot do without.
    local = content if _DOT_STRING.fullmatch(content) else '"' + _MUST_QUOTE.sub(r"\\\1", content) + '"'
    if len(local.encode()) > MAX_LOCAL_OCTETS:
        return Malformed(f"the local part is longer than {MAX_LOCAL_OCTETS} octets")
    return local


def _domain(tokens: list[_Token]) -> str | Malformed:
    if len(tokens) == 1 and tokens[0].kind is _Kind.LITERAL:
        literal = tokens[0].text
        return literal if _is_address_literal(literal[1:-1]) else Malformed("the address literal is no IP address")
    if not _is_dotted(tokens, frozenset({_Kind.ATOM})):
        return Malformed("the domain is not labels joined by single dots" if tokens else "no domain behind the @")
    domain = "".join(token.text for token in tokens)
    if not _is_clean(domain):
        return Malformed("the domain has a control character or is not UTF-8")
    if len(domain.encode()) > MAX_DOMAIN_OCTETS:
        return Malformed(f"the domain is longer than {MAX_DOMAIN_OCTETS} octets")
    if not all(_is_label(label) for label in domain.split(".")):
        return Malformed("the domain has a label that is no host name")
    return domain


def _is_clean(text: str) -> bool:
    # No control, separator, format or unassigned character, no surrogate, and no trace of a failed decoding. The
    # joiners that some scripts are written with may stay.
    return "\ufffd" not in text and text.replace("\u200c", "").replace("\u200d", "").isprintable()


def _is_dotted(tokens: list[_Token], words: frozenset[_Kind]) -> bool:
    dots = tokens[1::2]
    return (
        len(tokens) % 2 == 1
        and all(token.kind in words for token in tokens[::2])
        and all(token.kind is _Kind.DOT for token in dots)
    )


def _is_label(label: str) -> bool:
    if label.isascii():
        return len(label) <= _MAX_LABEL_OCTETS and _LDH_LABEL.fullmatch(label) is not None
    # The Punycode codec is quadratic: the length is looked at first. RFC 5890 section 2.3.2.1: `xn--` counts too.
    if len(label) > _MAX_LABEL_OCTETS or len(label.encode("punycode")) + len("xn--") > _MAX_LABEL_OCTETS:
        return False
    return not label.startswith("-") and not label.endswith("-") and all(map(_may_be_in_u_label, label))


def _may_be_in_u_label(character: str) -> bool:
    return character.isalnum() or character in _CONTEXTUAL or unicodedata.category(character) in {"Mn", "Mc"}


def _is_address_literal(content: str) -> bool:
    # RFC 5321 section 4.1.3; no other tag than IPv6 was ever registered.
    tag, colon, address = content.partition(":")
    try:
        if colon and tag.lower() == "ipv6":
            ipaddress.IPv6Address(address)
        else:
            ipaddress.IPv4Address(content)
    except ValueError:
        return False
    return "%" not in content
