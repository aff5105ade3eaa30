"""Make octets from outside safe to show in an event, a log line, a terminal or a page.

Replies, UIDLs, header texts and user names are written by strangers. A terminal obeys escape sequences, a log reader
believes line ends, and a bidirectional override makes one address look like another; none of them may pass.

**Invariants:** the result is one line of printable characters, at most `limit` of them; the work done does not depend
on how much was given. The text is for people: it is not reversible and decides nothing.
"""

import re

ELLIPSIS = "..."
_LONGEST_UTF8_CHARACTER = 4
# Letters and marks to Python and to Unicode, and nothing at all to the eye (DerivedCoreProperties.txt,
# Default_Ignorable_Code_Point): with one of them two different addresses look alike.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def is_safe(text: str) -> bool:
    """Whether a text may be shown as it is, its length apart."""
    return text.isprintable() and (text.isascii() or not _INVISIBLE.search(text))


def safe_text(raw: bytes, limit: int = 200) -> str:
    r"""Show `raw` as one printable line of at most `limit` characters.

    Printable characters of valid UTF-8 stay. Everything else (controls, line ends, escapes, bidirectional and
    zero-width characters, octets that are not UTF-8) appears as `\xNN`, octet by octet. What does not fit is cut,
    never inside an escape, and ends in `...`.
    """
    head = raw[: limit * _LONGEST_UTF8_CHARACTER]
    text = head.decode("utf-8", errors="surrogateescape")
    if len(head) == len(raw) and len(text) <= limit and is_safe(text):
        return text
    return _cut([_shown(character) for character in text], limit=limit, more=len(head) < len(raw))


def _shown(character: str) -> str:
    if is_safe(character):
        return character
    return "".join(f"\\x{octet:02x}" for octet in character.encode("utf-8", errors="surrogateescape"))


def _cut(pieces: list[str], *, limit: int, more: bool) -> str:
    if not more and sum(map(len, pieces)) <= limit:
        return "".join(pieces)
    room = max(limit - len(ELLIPSIS), 0)
    kept: list[str] = []
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept) + ELLIPSIS[:limit]
