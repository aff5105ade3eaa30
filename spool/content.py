"""The bytes of a message, read and checked against their row.

**Invariants:** no octet of a message whose SHA-256 differs is called good: `load` checks before it returns, `pieces`
before it ends.
**Failures:** `Damaged` (missing, short or different), `SpoolFailed` (the disk said no).
"""

from __future__ import annotations

import errno
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
    """Read a message piece by piece; where the bytes are not those that were admitted, it ends by raising Damaged."""
    known = hashlib.sha256()
    try:
        for piece in _read(spool, stored):
            known.update(piece)
            yield piece
    except EOFError as error:
        raise Damaged(stored.queue_id, str(error)) from error
    except FileNotFoundError as error:
        raise Damaged(stored.queue_id, f"{stored.path.name} is missing") from error
    except OSError as error:
        if error.errno == errno.EIO:
            # A bad sector under one message must not hold up the others.
            raise Damaged(stored.queue_id, f"{stored.path.name} cannot be read: {error.strerror}") from error
        raise SpoolFailed(f"{stored.path}: {error.strerror}") from error
    if known.digest() != stored.sha256:
        raise Damaged(stored.queue_id, f"its bytes in {stored.path.name} differ from its SHA-256")


def head(spool: Spool, stored: Stored, *, octets: int) -> bytes:
    """Read the first octets of a message, unchecked: for listings and header scans."""
    found = b""
    for piece in pieces(spool, stored):
        found += piece
        if len(found) >= octets:
            break
    return found[:octets]


def injected_block(spool: Spool, stored: Stored) -> bytes:
    """Read the block that heads the message in the spool."""
    try:
        try:
            return read_block(stored.path, stored.place)
        except FileNotFoundError:
            present = _present(spool, stored)
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


def _read(spool: Spool, stored: Stored) -> Iterator[bytes]:
    try:
        yield from read_message(stored.path, stored.place)
    except FileNotFoundError:
        # Only the opening says so: nothing was read yet.
        present = _present(spool, stored)
        yield from read_message(present.path, present.place)


def _present(spool: Spool, stored: Stored) -> Stored:
    """Look again where the file is gone: its owner may just have moved the message to another segment."""
    with spool.index.read() as connection:
        return find_message(connection, stored.queue_id, layout=spool.layout).stored or stored
