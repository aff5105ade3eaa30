"""Change one account in the text of a configuration, and no octet beside it.

Only the lines of that account are given to tomlkit and put back: of a whole file it moves tables that stand between two
accounts, and takes the comment above an account for the end of the one before. A comment directly above an account is
its own, and goes with it.

**Invariants:** the new text means what the old one meant, but for the change: both are read by tomllib and compared.
**Failures:** `CannotEdit` where the accounts are written in a way in which that cannot be had.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import tomlkit
from tomlkit.container import Container
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Array, InlineTable, Item, Table

from pipeline.config.problems import Raw

Value = str | int | bool | list[str]

# What ends a line of the text, and what does not: a line end in a string, an array or an inline table.
_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[{]|[\]}]|\n"
    r"|[^\"'#\[\]{}\n]+",
    re.DOTALL,
)
_INDENT = re.compile(r"^([ \t]+)[^\s#\[]", re.MULTILINE)


class CannotEdit(Exception):
    """The accounts are written in a way that only a person can change."""

    def __init__(self) -> None:
        super().__init__("its accounts are written in a way that cannot be changed by a command; edit it by hand")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """The lines of an account: its comment from `lead` on, its own keys up to `keys_end`, its tables up to `end`."""

    lead: int
    start: int
    keys_end: int
    end: int


def with_account(text: str, values: Mapping[str, Value]) -> str:
    """The text with one more account, behind the others."""
    wanted = tomllib.loads(text)
    wanted["accounts"] = [*_accounts(wanted), dict(values)]
    lines = _lines(text)
    place = _array(lines)
    if place is not None:
        added = tomlkit.inline_table()
        added.update(values)
        return _in_array(text, lines, place=place, act=lambda array: array.append(added), wanted=wanted)
    own = tomlkit.dumps({"accounts": [dict(values)]}).splitlines(keepends=True)
    blocks = _blocks(lines)
    at = blocks[-1].end if blocks else len(lines)
    before, after = lines[:at], lines[at:]
    if before and not before[-1].endswith("\n"):
        before[-1] += "\n"
    gap = ["\n"] if before and before[-1].strip() else []
    tail = ["\n"] if after and after[0].strip() else []
    return _checked(text, [*before, *gap, *own, *tail, *after], wanted=wanted)


def with_changes(text: str, name: str, *, changes: Mapping[str, Value | None]) -> str:
    """The text with other values for keys of the account of that name; None takes a key away."""
    wanted = tomllib.loads(text)
    number = _number(wanted, name)
    account = _accounts(wanted)[number]
    for key, value in changes.items():
        account.pop(key, None)
        if value is not None:
            account[key] = value
    lines = _lines(text)
    place = _array(lines)
    if place is not None:
        return _in_array(text, lines, place=place, act=lambda array: _change(array[number], changes), wanted=wanted)
    block = _block(lines, number)
    own = "".join(lines[block.start : block.keys_end])
    try:
        document = tomlkit.parse(own)
        _change(cast(AoT, document["accounts"])[0], changes, indent=_INDENT.search(own))
        changed = document.as_string()
    except (TOMLKitError, LookupError) as error:
        raise CannotEdit from error
    if not own.endswith("\n"):
        changed = changed.removesuffix("\n")
    return _checked(text, [*lines[: block.start], changed, *lines[block.keys_end :]], wanted=wanted)


def without_account(text: str, name: str) -> str:
    """The text without the account of that name."""
    wanted = tomllib.loads(text)
    number = _number(wanted, name)
    del _accounts(wanted)[number]
    lines = _lines(text)
    place = _array(lines)
    if place is not None:
        return _in_array(text, lines, place=place, act=lambda array: array.pop(number), wanted=wanted)
    if not _accounts(wanted):
        del wanted["accounts"]
    block = _block(lines, number)
    return _checked(text, _cut(lines, start=block.lead, end=block.end), wanted=wanted)


def _accounts(raw: Raw) -> list[Raw]:
    accounts = raw.get("accounts", [])
    if not isinstance(accounts, list) or not all(isinstance(account, dict) for account in accounts):
        raise CannotEdit
    return accounts


def _number(raw: Raw, name: str) -> int:
    for number, account in enumerate(_accounts(raw)):
        if account.get("name") == name:
            return number
    raise CannotEdit


def _lines(text: str) -> list[str]:
    """The text line by line; a value that goes on over several is one of them."""
    lines, start, depth = [], 0, 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
            case "\n" if depth == 0:
                lines.append(text[start : token.end()])
                start = token.end()
    return [*lines, text[start:]] if start < len(text) else lines


def _array(lines: Sequence[str]) -> int | None:
    """The line of `accounts = [...]`; None where there is none."""
    for number, line in enumerate(lines):
        if line.lstrip().startswith("["):
            return None
        if isinstance(tomllib.loads(line).get("accounts"), list):
            return number
    return None


def _blocks(lines: Sequence[str]) -> list[_Block]:
    """The accounts that have lines of their own, in order."""
    headers = [number for number, line in enumerate(lines) if line.lstrip().startswith("[")]
    blocks: list[_Block] = []
    is_account = False
    for start, following in itertools.pairwise([*headers, len(lines)]):
        # The header by itself: `accounts` is a list for [[accounts]], a table for [accounts.oauth2].
        opened = tomllib.loads(lines[start]).get("accounts")
        end = _end(lines, start, following=following)
        if isinstance(opened, list):
            blocks.append(_Block(lead=_lead(lines, start), start=start, keys_end=end, end=end))
        elif isinstance(opened, dict) and is_account:
            last = blocks[-1]
            blocks[-1] = _Block(lead=last.lead, start=last.start, keys_end=last.keys_end, end=end)
        is_account = opened is not None
    return blocks


def _block(lines: Sequence[str], number: int) -> _Block:
    blocks = _blocks(lines)
    if number >= len(blocks):
        raise CannotEdit
    return blocks[number]


def _end(lines: Sequence[str], start: int, *, following: int) -> int:
    """Where a table ends: behind its last key, and the comment directly below unless the next table begins there."""
    last = max(number for number in range(start, following) if not _is_trivia(lines[number]))
    end = last + 1
    while end < following and _is_comment(lines[end]):
        end += 1
    return last + 1 if end == following < len(lines) else end


def _lead(lines: Sequence[str], start: int) -> int:
    """Where the comment directly above begins; one at the top of the file is about the file."""
    lead = start
    while lead and _is_comment(lines[lead - 1]):
        lead -= 1
    return lead or start


def _cut(lines: Sequence[str], *, start: int, end: int) -> list[str]:
    """The lines without some, and without a gap that is left there."""
    before, after = list(lines[:start]), list(lines[end:])
    while after and not after[0].strip():
        gap = after.pop(0)
        if after and after[0].strip() and before and before[-1].strip():
            after.insert(0, gap)
            break
    while not after and before and not before[-1].strip():
        before.pop()
    return [*before, *after]


def _change(
    table: Item | Container, changes: Mapping[str, Value | None], *, indent: re.Match[str] | None = None
) -> None:
    if not isinstance(table, Table | InlineTable):
        raise CannotEdit
    for key, value in changes.items():
        if value is None:
            if key in table:
                del table[key]
        elif key in table:
            table[key] = value
        else:
            item = tomlkit.item(value)
            if indent is not None:
                item.indent(len(indent[1]))
            table.append(key, item)


def _in_array(text: str, lines: Sequence[str], *, place: int, act: Callable[[Array], object], wanted: Raw) -> str:
    try:
        document = tomlkit.parse(lines[place])
        act(cast(Array, document["accounts"]))
        changed = document.as_string()
    except (TOMLKitError, LookupError) as error:
        raise CannotEdit from error
    return _checked(text, [*lines[:place], changed, *lines[place + 1 :]], wanted=wanted)


def _checked(before: str, lines: Sequence[str], *, wanted: Raw) -> str:
    """The new text with the line ends of the old one; raises CannotEdit where it does not mean what is wanted."""
    text = "".join(lines)
    if "\r\n" in before and before.count("\r\n") == before.count("\n"):
        text = re.sub(r"(?<!\r)\n", "\r\n", text)
    try:
        meant = tomllib.loads(text)
    except ValueError as error:
        raise CannotEdit from error
    if meant != wanted:
        raise CannotEdit
    return text


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _is_trivia(line: str) -> bool:
    return not line.strip() or _is_comment(line)
