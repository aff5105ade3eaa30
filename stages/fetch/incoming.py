"""One message as it arrives: in memory up to 1 MiB, a larger one streamed into its own file through the spool thread.

**Invariants:** memory does not grow with the message. What is not kept leaves nothing behind.
**Failures:** `SpoolFailed`.
"""

from __future__ import annotations

from spool.envelope import Digest, Origin, Place, Reason
from spool.message_file import digest
from spool.segments import LARGE_OCTETS, LargeWriter
from stages.fetch.custody import Custody
from stages.fetch.proof import HEAD_OCTETS

_PIECE_OCTETS = 256 * 1024


class Incoming:
    """The octets of one RETR: `octets` so far, and the first of them, `head`, once `digest` was asked for."""

    def __init__(self, origin: Origin, custody: Custody, *, objection: Reason | None) -> None:
        self.origin = origin
        self.octets = 0
        self.head = b""
        self._custody = custody
        self._objection = objection
        self._held: list[bytes] = []
        self._held_octets = 0
        self._writer: LargeWriter | None = None

    @property
    def is_large(self) -> bool:
        """Whether it goes to the disk as it comes."""
        return self._writer is not None

    async def feed(self, data: bytes) -> None:
        """Take the next octets; waits for the disk where they go there."""
        self._held.append(data)
        self.octets += len(data)
        self._held_octets += len(data)
        if self._writer is None and self._held_octets > LARGE_OCTETS:
            await self._custody.open_large(self.origin, objection=self._objection, hold=self._hold)
        if self._writer is not None and self._held_octets > _PIECE_OCTETS:
            await self._write(self._writer)

    async def digest(self) -> Digest:
        """What identifies the message, once all of it has come; call once."""
        if self._writer is None:
            content = b"".join(self._held)
            self._held = [content]
            self.head = content[:HEAD_OCTETS]
            return digest(content)
        await self._write(self._writer)
        return self._writer.digest()

    async def keep(self) -> bytes | Place:
        """The content as an arrival has it: octets, or the place of the large file, which is durable then."""
        if self._writer is None:
            return self._held[0]
        writer, self._writer = self._writer, None
        _, place = await self._custody.in_spool(writer.finish)
        return place

    async def discard(self) -> None:
        """Give the message up."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await self._custody.in_spool(writer.discard)

    def _hold(self, writer: LargeWriter) -> None:
        self._writer = writer

    async def _write(self, writer: LargeWriter) -> None:
        piece = b"".join(self._held)
        self.head = self.head or piece[:HEAD_OCTETS]  # the first piece is larger than a header may be
        self._held.clear()
        self._held_octets = 0
        await self._custody.in_spool(lambda: writer.write(piece))
