"""The injected lines on top of a dropped file: which they are, where they end, and how an envelope is put there.

Three kinds of people write them: we in Badmail, an Exchange server that exports to its Replay directory, an operator by
hand. The first two end them with `X-EndOfInjectedXHeaders`; Exchange also folds them. What stands there by hand ends
where the names end that Exchange and we are known to inject.

**Invariants:** total on any octets; looks at 64 KiB. X-lines without an envelope and without an end were written by
some other program and stay in the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spool.message_file import CREATED_BY, END, MAX_BLOCK_OCTETS, PREFIX, RECEIVER, SENDER, block, envelope_fields

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# The names that Exchange documents for its Replay directory, and those that it is seen to write.
_EXCHANGE = (
    "X-HeloDomain",
    "X-Source",
    "X-SourceIPAddress",
    "X-ExtendedMessageProps",
    "X-ExtendedProps",
    "X-LegacyExch50",
)
_ENVELOPE = frozenset({SENDER.lower(), RECEIVER.lower()})
_END_MARK = f"{END}:".lower().encode("ascii")
_KNOWN = _ENVELOPE | {name.lower() for name in (CREATED_BY, END, *_EXCHANGE)}


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedField:
    """One injected line, unfolded; `start` and `end` are its offsets in the file, the line end included."""

    name: str
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """All of them; `end` is the offset behind them, `is_whole` is False where they go on beyond what was looked at."""

    fields: tuple[InjectedField, ...]
    end: int
    is_whole: bool = True

    def all(self, name: str) -> list[InjectedField]:
        """The lines of a name, compared case-blind, in order."""
        return [field for field in self.fields if field.name.lower() == name.lower()]


def read_injected(top: bytes) -> Injected:
    """Read the injected lines of a file from its first octets; where it has none, `end` is behind a byte order mark."""
    # Editors put the mark there; it is no part of the first line, nor of the message.
    start = len(BYTE_ORDER_MARK) if top.startswith(BYTE_ORDER_MARK) else 0
    found, is_whole = _x_lines(top, start, limit=start + MAX_BLOCK_OCTETS)
    if found and found[-1].name.lower() == END.lower():
        return Injected(fields=tuple(found[:-1]), end=found[-1].end)
    known = _leading_known(found)
    if not any(field.name.lower() in _ENVELOPE for field in known):
        return Injected(fields=(), end=start)
    return Injected(fields=tuple(known), end=known[-1].end, is_whole=is_whole or len(known) < len(found))


def with_envelope(top: bytes, *, sender: str | None, recipients: Sequence[str]) -> bytes:
    """The same octets with this envelope on top; what is not given (None, none) stays as the file has it."""
    injected = read_injected(top)
    replaced = ({SENDER.lower()} if sender is not None else set()) | ({RECEIVER.lower()} if recipients else set())
    kept = [(field.name, field.value) for field in injected.fields if field.name.lower() not in replaced]
    return block([*envelope_fields(sender, recipients), *kept]) + top[injected.end :]


def _x_lines(top: bytes, start: int, *, limit: int) -> tuple[list[InjectedField], bool]:
    """The lines that begin with `X-`, up to the end mark or another line; False where they go on beyond `limit`."""
    # A text of old Macintosh form has no LF at all (see `stages.mail.headers`).
    line_end = b"\n" if b"\n" in top else b"\r"
    found: list[InjectedField] = []
    position = start
    while position < min(len(top), limit):
        if top[position : position + 2].lower() != b"x-":
            return found, True
        end = _end_of_field(top, position, line_end=line_end)
        name, colon, value = top[position:end].partition(b":")
        if not colon:
            return found, True
        found.append(InjectedField(name=_text(name), value=_unfolded(value, line_end), start=position, end=end))
        if found[-1].name.lower() == END.lower():
            return found, True
        position = end
    return found, position >= len(top)


def _end_of_field(top: bytes, position: int, *, line_end: bytes) -> int:
    """The offset behind a line and those that continue it (RFC 5322 section 2.2.3); the end mark has none."""
    end = top.find(line_end, position) + 1 or len(top)
    if top[position:end].lower().startswith(_END_MARK):
        return end
    while top[end : end + 1] in (b" ", b"\t"):
        end = top.find(line_end, end) + 1 or len(top)
    return end


def _leading_known(found: Sequence[InjectedField]) -> list[InjectedField]:
    known: list[InjectedField] = []
    for field in found:
        name = field.name.lower()
        if name not in _KNOWN and not name.startswith(PREFIX.lower()):
            break
        known.append(field)
    return known


def _unfolded(value: bytes, line_end: bytes) -> str:
    return " ".join(filter(None, map(_text, value.split(line_end))))


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace").strip(" \t\r\n")
