"""The tokens of a fetchmailrc: words, numbers, quoted strings and `=`; noise words and punctuation are skipped.

The rules are those of fetchmail's manual ("Run Control Syntax") and of its lexer: a comment begins where a token could,
a word ends at white space or one of `=;:,`, and behind some keywords whatever comes is a name, be it a number or a
keyword. Who reads the tokens knows where that is.

**Invariants:** any text is a row of tokens; each octet of it is looked at a bounded number of times.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

_SKIPPED = re.compile(r"[ \t\r;:,]+|(?:#[^\n]*)?\\?\n|#[^\n]*\Z")
_WORD = re.compile(r"[^=;:, \t\r\n]+")
_NUMBER = re.compile(r"-?[0-9]+")
_NOISE = frozenset({"with", "and", "has", "wants", "options"})
# Of at most so many digits each: \x41, \065, \65.
_ESCAPE = re.compile(r"\\(?:[xX]([0-9a-fA-F]{0,2})|(0[0-7]{0,2})|([1-9][0-9]{0,2})|(.)|\Z)", re.DOTALL)
_CHARACTERS = {"n": "\n", "t": "\t", "b": "\b", "r": "\r", "\n": ""}


class Kind(enum.Enum):
    """What a token is."""

    WORD = "word"
    STRING = "string"
    NUMBER = "number"
    MAP = "="
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token, and the line where it begins."""

    kind: Kind
    text: str
    line: int


class Tokens:
    """A text, read token by token."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._ahead: Token | None = None
        self._behind = 0
        # What has no second quote behind some place has none behind any later one.
        self._open: set[str] = set()

    def peek(self) -> Token:
        """The next token, which stays."""
        if self._ahead is None:
            self._ahead, self._behind = self._token(takes_names=False)
            while self._ahead.kind is Kind.WORD and self._ahead.text in _NOISE:
                self._go_on()
                self._ahead, self._behind = self._token(takes_names=False)
        return self._ahead

    def take(self) -> Token:
        """The next token."""
        token = self.peek()
        self._go_on()
        return token

    def take_name(self) -> Token:
        """The next token, which is a string whatever it looks like, unless it is `=` or the end."""
        token, self._behind = self._token(takes_names=True)
        self._go_on()
        return token

    def _go_on(self) -> None:
        self._line += self._text.count("\n", self._at, self._behind)
        self._at = self._behind
        self._ahead = None

    def _token(self, *, takes_names: bool) -> tuple[Token, int]:
        """The token at this place, and where it ends."""
        while skipped := _SKIPPED.match(self._text, self._at):
            self._line += skipped[0].count("\n")
            self._at = skipped.end()
        text, start = self._text, self._at
        if start == len(text):
            return Token(kind=Kind.END, text="", line=self._line), start
        if text[start] == "=":
            return Token(kind=Kind.MAP, text="=", line=self._line), start + 1
        if (end := self._closing_quote(start)) is not None:
            return Token(kind=Kind.STRING, text=unescaped(text[start + 1 : end]), line=self._line), end + 1
        word = _WORD.match(text, start)
        if word is None:
            raise AssertionError("every character begins a token, or is skipped")
        if takes_names:
            return Token(kind=Kind.STRING, text=unescaped(word[0]), line=self._line), word.end()
        kind = Kind.NUMBER if _NUMBER.fullmatch(word[0]) else Kind.WORD
        return Token(kind=kind, text=unescaped(word[0]), line=self._line), word.end()

    def _closing_quote(self, start: int) -> int | None:
        quote = self._text[start]
        if quote not in "\"'" or quote in self._open:
            return None
        end = self._text.find(quote, start + 1)
        if end < 0:
            self._open.add(quote)
        return None if end < 0 else end


def unescaped(text: str) -> str:
    """A string with its escapes resolved: `\\n`, decimal `\\65`, octal `\\065`, `\\x41`; a line end goes."""
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(escape: re.Match[str]) -> str:
    hexadecimal, octal, decimal, other = escape.groups()
    if hexadecimal is not None:
        return chr(int(hexadecimal or "0", 16))
    if octal is not None:
        return chr(int(octal, 8))
    if decimal is not None:
        return chr(int(decimal) % 256)
    return _CHARACTERS.get(other, other) if other else ""
