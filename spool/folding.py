"""How texts are compared when somebody looks for words: whatever their case, and however an accent is composed.

**Invariants:** `folded` is total, and the same for what is typed and for what is in a column.
"""

from __future__ import annotations

import unicodedata

# The name of `folded` in SQL; `spool.index` makes it known to each connection.
FOLDED = "folded"


def folded(text: str | None) -> str | None:
    """A text as it is compared (Unicode, section 3.13: caseless matching); null stays null, as functions of SQL do."""
    if text is None or text.isascii():
        return text and text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
