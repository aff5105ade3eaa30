"""The bytes of a message, read and checked against their row.

**Invariants:** no octet of a message whose SHA-256 differs is called good: `load` checks before it returns, `pieces` before it ends.
**Failures:** `Damaged` (missing, short or different), `SpoolFailed` (the disk said no).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from spool.errors import Damaged, SpoolFailed
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.rows import Stored, find_message
from spool.segments import READ_OCTETS, open_regular, read_block, read_message


def load(spool: Spool, stored: Stored) -> bytes:
    """Read a whole message; for small ones."""
    return b"".join(pieces(spool, stored))


def pieces(spool: Spool, stored: Stored) -> Iterator[bytes]:
    """Read a message piece by piece; the last thing it does is to raise Damaged where the bytes are not the ones that were admitted."""
    known = hashlib.sha256()
    try:
        present = _present(spool, stored)
        for piece in read_message(present.path, present.place):
            known.update(piece)
            yield piece
    except EOFError as error:
        raise Damaged(stored.queue_id, str(error)) from error
    except FileNotFoundError as error:
        raise Damaged(stored.queue_id, f"{stored.path.name} is missing") from error
    except OSError as error:
        raise SpoolFailed(f"{stored.path}: {error.strerror}") from error
    if known.digest() != stored.sha256:
        raise Damaged(stored.queue_id, f"its bytes in {stored.path.name} differ from its SHA-256")


def head(spool: Spool, stored: Stored, octets: int) -> bytes:
    """Read the first octets of a message, unchecked: for listings and header scans."""
    found = b""
    for piece in pieces(spool, stored):
        found += piece
        if len(found) >= octets:
            break
    return found[:octets]


def injected_block(spool: Spool, stored: Stored) -> bytes:
    """Read the block that heads the message in the spool."""
    present = _present(spool, stored)
    try:
        return read_block(present.path, present.place)
    except OSError as error:
        raise Damaged(stored.queue_id, f"{stored.path.name}: {error.strerror}") from error


def badmail_pieces(spool: Spool, queue_id: str, *, start: int) -> Iterator[bytes]:
    """Read a Badmail file from offset `start`; raises Damaged where it is missing."""
    path = spool.layout.badmail_message(QueueId(queue_id))
    try:
        with open_regular(path) as file:
            file.seek(start)
            while piece := file.read(READ_OCTETS):
                yield piece
    except OSError as error:
        raise Damaged(queue_id, f"Badmail/{path.name}: {error.strerror}") from error


def _present(spool: Spool, stored: Stored) -> Stored:
    """Look again where the file is gone: its owner may just have moved the message to another segment."""
    if stored.path.exists():
        return stored
    with spool.index.read() as connection:
        return find_message(connection, spool.layout, stored.queue_id).stored or stored
