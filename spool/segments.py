"""Append-only segment files and large-message files: append, sync, read, scan.

A segment is a header and records back to back. A record is a frame, the block and the message:

    header   magic, nonce (16 octets), CRC-32 of both; the same once more
    frame    nonce, queue id (18), block octets (4), message octets (8), CRC-32 of the block, CRC-32 of all these

**Invariants:** a place is handed out only after the bytes it names were synced; after an error a segment is never
written or synced again; `scan` stops at frames with this segment's nonce and a true checksum alone, so nothing that a
sender wrote, who cannot know the nonce, is ever taken for a record. A large message is one file without frames: block,
then message.
**Failures:** `OSError` from the disk; the writer is then abandoned and says so.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from spool.disk import Disk
from spool.envelope import Digest, Origin, Place, Reason
from spool.layout import partial
from spool.message_file import MAX_BLOCK_OCTETS, Block, Digester, block, custody_fields, parse_block
from spool.queue_id import QueueId

NONCE_OCTETS = 16
LARGE_OCTETS = 1024 * 1024
_MAGIC = b"POP3Connector segment 1\r\n"
_FRAME = struct.Struct(f">{NONCE_OCTETS}s18sIQI")
_CHECKSUM = struct.Struct(">I")
_FRAME_OCTETS = _FRAME.size + _CHECKSUM.size
_HALF_HEADER_OCTETS = len(_MAGIC) + NONCE_OCTETS + _CHECKSUM.size
HEADER_OCTETS = 2 * _HALF_HEADER_OCTETS
_SCAN_CHUNK = 1024 * 1024
# What a reader gets in one piece.
READ_OCTETS = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record that `scan` found: whole by its frame and its block's checksum; the message is not yet checked."""

    queue_id: QueueId
    place: Place
    block: Block


class SegmentWriter:
    """Appends to the one active segment of a stage."""

    def __init__(self, path: Path, nonce: bytes, *, disk: Disk) -> None:
        """Create the file and make its name durable; raises OSError."""
        self.path = path
        self.octets = HEADER_OCTETS
        self._nonce = nonce
        self._disk = disk
        self._fd = disk.create(path)
        try:
            # Synced with the first batch: until then nobody relies on it.
            disk.write(self._fd, _header(nonce))
            disk.sync_directory(path.parent)
        except OSError:
            self.close()
            raise

    def append(self, records: Sequence[tuple[QueueId, bytes, bytes]]) -> list[Place]:
        """Append (queue id, block, message) records and sync once; raises OSError, and is then to be abandoned."""
        parts: list[bytes] = []
        places: list[Place] = []
        end = self.octets
        for queue_id, head, message in records:
            parts += (_frame(self._nonce, queue_id, head=head, octets=len(message)), head, message)
            places.append(Place(offset=end + _FRAME_OCTETS, block_octets=len(head), octets=len(message)))
            end += _FRAME_OCTETS + len(head) + len(message)
        self._disk.write(self._fd, b"".join(parts))
        self._disk.sync_data(self._fd)
        self.octets = end
        return places

    def close(self) -> None:
        """Give the descriptor back; nothing is synced."""
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1


class LargeWriter:
    """Streams one large message into its own file, without ever holding it whole.

    The block stands in front of the message but names its length and hash: it is written twice, the second time over
    the first.
    """

    def __init__(self, path: Path, *, disk: Disk, head: Callable[[int, bytes], bytes]) -> None:
        """Create the partial file; `head` makes the block, of one width, from octets and SHA-256. Raises OSError."""
        self.path = path
        self._disk = disk
        self._head = head
        self._digester = Digester()
        first = head(0, bytes(32))
        self._block_octets = len(first)
        disk.unlink(partial(path))
        self._fd = disk.create(partial(path))
        try:
            disk.write(self._fd, first)
        except OSError:
            self.discard()
            raise

    def write(self, chunk: bytes) -> None:
        """Append octets of the message; raises OSError."""
        self._digester.feed(chunk)
        self._disk.write(self._fd, chunk)

    def digest(self) -> Digest:
        """What identifies the message; once all of it is written."""
        return self._digester.result()

    def finish(self) -> tuple[Digest, Place]:
        """Make the file durable under its name; raises OSError, after which only `discard` is left."""
        digest = self.digest()
        self._disk.overwrite(self._fd, self._head(digest.octets, digest.sha256), offset=0)
        self._disk.sync_file(self._fd)
        self._disk.close(self._fd)
        self._fd = -1
        self._disk.rename(partial(self.path), self.path)
        self._disk.sync_directory(self.path.parent)
        return digest, Place(offset=0, block_octets=self._block_octets, octets=digest.octets)

    def discard(self) -> None:
        """Give up the message: nothing of it stays."""
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1
        self._disk.unlink(partial(self.path))


def large_head(
    origin: Origin, *, sender: str | None = None, recipients: Sequence[str] = (), objection: Reason | None = None
) -> Callable[[int, bytes], bytes]:
    """The block of a large message as `LargeWriter` wants it."""

    def head(octets: int, sha256: bytes) -> bytes:
        fields = custody_fields(
            origin, octets=octets, sha256=sha256, sender=sender, recipients=recipients, objection=objection
        )
        return block(fields)

    return head


def read_message(path: Path, place: Place) -> Iterator[bytes]:
    """Read a message, without its block, in pieces of `READ_OCTETS` at most; raises OSError and EOFError."""
    with open_regular(path) as file:
        file.seek(place.offset + place.block_octets)
        left = place.octets
        while left:
            piece = file.read(min(left, READ_OCTETS))
            if not piece:
                raise EOFError(f"{path.name} ends {left} octets too soon")
            left -= len(piece)
            yield piece


def read_block(path: Path, place: Place) -> bytes:
    """Read the block of a record as it stands in the file; raises OSError."""
    with open_regular(path) as file:
        file.seek(place.offset)
        return file.read(place.block_octets)


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, never through a link, and never waiting for a FIFO's writer; raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return open(fd, "rb")


def read_nonce(path: Path) -> bytes | None:
    """The nonce of a segment, from its header, the copy of it or the first frame; None where all are damaged."""
    with open_regular(path) as file:
        head = file.read(HEADER_OCTETS + _FRAME_OCTETS)
    for start in (0, _HALF_HEADER_OCTETS):
        nonce = head[start + len(_MAGIC) : start + len(_MAGIC) + NONCE_OCTETS]
        if head[start : start + _HALF_HEADER_OCTETS] == _half_header(nonce):
            return nonce
    frame = head[HEADER_OCTETS:]
    nonce = frame[:NONCE_OCTETS]
    return nonce if _parse_frame(frame, nonce) else None


def scan(path: Path, nonce: bytes, *, start: int = HEADER_OCTETS) -> Iterator[Record | tuple[int, int]]:
    """Find the records of a segment from `start` on, in order.

    What is not a record, a torn tail or damage, comes as the pair (start, end) of its octets. Memory is bounded
    whatever the file holds. Raises OSError.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        position = start
        while position < size:
            record = _record_at(file, position, nonce=nonce, size=size)
            if record is None:
                following = _find_frame(file, position + 1, nonce=nonce, size=size)
                yield (position, following)
                position = following
            else:
                yield record
                position = record.place.offset + record.place.block_octets + record.place.octets


def _record_at(file: BinaryIO, position: int, *, nonce: bytes, size: int) -> Record | None:
    file.seek(position)
    frame = _parse_frame(file.read(_FRAME_OCTETS), nonce)
    if frame is None:
        return None
    queue_id, block_octets, octets, checksum = frame
    head = file.read(min(block_octets, MAX_BLOCK_OCTETS))
    found = parse_block(head)
    offset = position + _FRAME_OCTETS
    if zlib.crc32(head) != checksum or found is None or offset + block_octets + octets > size:
        return None
    return Record(queue_id=queue_id, place=Place(offset=offset, block_octets=block_octets, octets=octets), block=found)


def _find_frame(file: BinaryIO, position: int, *, nonce: bytes, size: int) -> int:
    """The offset of the next true frame, or the end of the file."""
    while position < size:
        file.seek(position)
        chunk = file.read(_SCAN_CHUNK + _FRAME_OCTETS)
        # Only a frame that lies whole in this chunk; one that begins further back is met in the next.
        found = chunk.find(nonce, 0, _SCAN_CHUNK + NONCE_OCTETS - 1)
        if found < 0:
            position += _SCAN_CHUNK
        elif _parse_frame(chunk[found : found + _FRAME_OCTETS], nonce):
            return position + found
        else:
            position += found + 1
    return size


def _header(nonce: bytes) -> bytes:
    return 2 * _half_header(nonce)


def _half_header(nonce: bytes) -> bytes:
    return _MAGIC + nonce + _CHECKSUM.pack(zlib.crc32(_MAGIC + nonce))


def _frame(nonce: bytes, queue_id: QueueId, *, head: bytes, octets: int) -> bytes:
    frame = _FRAME.pack(nonce, queue_id.encode("ascii"), len(head), octets, zlib.crc32(head))
    return frame + _CHECKSUM.pack(zlib.crc32(frame))


def _parse_frame(frame: bytes, nonce: bytes) -> tuple[QueueId, int, int, int] | None:
    if len(frame) != _FRAME_OCTETS or frame[:NONCE_OCTETS] != nonce:
        return None
    if zlib.crc32(frame[: _FRAME.size]) != _CHECKSUM.unpack_from(frame, _FRAME.size)[0]:
        return None
    _, queue_id, block_octets, octets, checksum = _FRAME.unpack_from(frame)
    try:
        return QueueId(queue_id.decode("ascii")), block_octets, octets, checksum
    except ValueError:
        return None
