"""The sections of an INI file, with the line of each key, as Python's `RawConfigParser` reads them.

**Failures:** `Unreadable`, where that would refuse the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.migration.theirs import Unreadable

_SECTION = re.compile(r"\[([^\]]+)\]")
_PAIR = re.compile(r"([^=:]*?)\s*[=:]\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The value of a key, of several lines where it goes on, and where the key stands."""

    line: int
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section: its line and its keys, in lower case."""

    line: int
    entries: Mapping[str, Entry]


def sections(text: str) -> Mapping[str, Section]:
    """Read all sections; raises Unreadable."""
    reader = _Reader()
    for number, line in enumerate(text.split("\n"), start=1):
        reader.take(number, line)
    reader.finish()
    return {name: Section(line=line, entries=entries) for name, (line, entries) in reader.found.items()}


class _Reader:
    def __init__(self) -> None:
        self.found: dict[str, tuple[int, dict[str, Entry]]] = {}
        self._entries: dict[str, Entry] | None = None
        self._key = ""
        self._key_line = 0
        self._value: list[str] = []
        self._indent = 0

    def take(self, number: int, line: str) -> None:
        bare = line.strip()
        if bare.startswith(("#", ";")):
            return
        if not bare:
            if self._key:
                self._value.append("")
            return
        indent = len(line) - len(line.lstrip())
        if self._key and indent > self._indent:
            self._value.append(bare)
            return
        self.finish()
        self._indent = indent
        if section := _SECTION.match(bare):
            self._open(number, section[1])
        else:
            self._begin(number, bare)

    def finish(self) -> None:
        """Enter the key that was read last."""
        if self._key and self._entries is not None:
            value = "\n".join(self._value).rstrip()
            self._entries[self._key] = Entry(line=self._key_line, value=value)
        self._key = ""

    def _open(self, number: int, name: str) -> None:
        if name in self.found:
            raise Unreadable(number, f"section [{name[:40]}] stands there twice")
        self._entries = {}
        self.found[name] = number, self._entries

    def _begin(self, number: int, bare: str) -> None:
        if self._entries is None:
            raise Unreadable(number, "no [section] stands before it")
        pair = _PAIR.fullmatch(bare)
        if pair is None or not pair[1]:
            raise Unreadable(number, "it is neither a [section] nor `key = value`")
        self._key = pair[1].lower()
        if self._key in self._entries:
            raise Unreadable(number, f"{self._key[:40]!r} stands there twice")
        self._key_line, self._value = number, [pair[2]]
