"""Hold the messages that are claimed and ready to send, and hand them to the sessions.

**Invariants:** nothing is handed out while mail does not flow, except to the probe. Messages in whose hands sessions
broke go last, and one whose next attempt decides is given only to a session that has sent nothing yet.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Container
from contextlib import suppress

from spool.ended import Claim
from spool.queue_id import QueueId
from stages.submit.outgoing import Outgoing
from stages.submit.tallies import Breaks

LOW_MESSAGES = 32
HELD_OCTETS = 8 * 1024 * 1024


class Supply:
    """Claimed messages: `unread` ones, and those whose content is here.

    `woken` is set whenever who fills it may have something to do.
    """

    def __init__(self, breaks: Callable[[Claim], Breaks]) -> None:
        self.woken = asyncio.Event()
        self.is_news = True  # more may be due than was claimed
        self.is_asked = False  # the operator may have decided about what is claimed
        self.unread: deque[Claim] = deque()
        self.in_hand = 0  # taken and not yet done with
        self.connections = 0
        self._breaks = breaks
        self._ready: deque[Outgoing] = deque()
        self._last: deque[Outgoing] = deque()
        self._held_octets = 0
        self._idle_sessions = 0
        self._flows = False
        self._is_closed = False
        self._signal = asyncio.Event()

    @property
    def is_low(self) -> bool:
        """Whether more should be claimed."""
        return len(self.unread) + self._waiting < LOW_MESSAGES

    @property
    def has_room(self) -> bool:
        """Whether more may be read into memory."""
        return self._held_octets < HELD_OCTETS

    @property
    def is_empty(self) -> bool:
        """Whether no claim is left, here or with a session."""
        return not self.unread and self._waiting == 0 and self.in_hand == 0

    def add(self, outgoing: Outgoing) -> None:
        """Offer a message whose content is here."""
        self._held_octets += outgoing.held_octets
        (self._last if self._breaks(outgoing.claim).goes_last else self._ready).append(outgoing)
        self._tell()

    def take(self, *, is_fresh: bool) -> Outgoing | None:
        """Take what is to be sent next; `is_fresh` says that the session has sent nothing yet."""
        return self._take(is_fresh=is_fresh) if self._flows and not self._is_closed else None

    def take_probe(self, *, is_last_resort: bool) -> Outgoing | None:
        """Take the message that probes the relay: one that broke sessions only as the last resort."""
        return self._take(is_fresh=True) if self._ready or is_last_resort else None

    def put_back(self, outgoing: Outgoing) -> None:
        """Offer again, as the next one, what was taken and is to be sent once more."""
        self.in_hand -= 1
        self._held_octets += outgoing.held_octets
        (self._last if self._breaks(outgoing.claim).goes_last else self._ready).appendleft(outgoing)
        self._tell()

    def done(self) -> None:
        """Note that what was taken came to its end."""
        self.in_hand -= 1
        self.woken.set()

    def look_again(self) -> None:
        """Note that more may be due."""
        self.is_news = True
        self.woken.set()

    def ask(self) -> None:
        """Note that somebody rang: more may be due, or the operator may have decided about what is here."""
        self.is_asked = True
        self.look_again()

    @property
    def waiting_ids(self) -> list[QueueId]:
        """The messages that are claimed and that no session has."""
        return [claim.message.queue_id for claim in self._claims()]

    def withdraw(self, queue_ids: Container[str]) -> list[Claim]:
        """Take back those of these that no session has."""
        claims = [claim for claim in self._claims() if claim.message.queue_id in queue_ids]
        for line in (self._ready, self._last):
            kept = [one for one in line if one.claim.message.queue_id not in queue_ids]
            self._held_octets -= sum(one.held_octets for one in line) - sum(one.held_octets for one in kept)
            line.clear()
            line.extend(kept)
        unread = [claim for claim in self.unread if claim.message.queue_id not in queue_ids]
        self.unread.clear()
        self.unread.extend(unread)
        return claims

    def empty(self) -> list[Claim]:
        """Take back all claims that no session has."""
        claims = self._claims()
        for waiting in (self._ready, self._last, self.unread):
            waiting.clear()
        self._held_octets = 0
        return claims

    def flow(self, *, flows: bool) -> None:
        """Let sessions take messages, or not."""
        self._flows = flows
        self.woken.set()
        self._tell()

    def close(self) -> None:
        """Hand out nothing more: sessions come to their end."""
        self._is_closed = True
        self._tell()

    async def wait_to_connect(self) -> bool:
        """Wait until another session is worth its opening; False when there will be none."""
        while not self._is_closed:
            if self._flows and self._waiting > self._idle_sessions:
                return True
            await self._signal.wait()
        return False

    async def wait_idle(self, seconds: float) -> bool:
        """Wait, for an open session, until there is something to send; False when it is time to say goodbye."""
        self._idle_sessions += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while self._flows and not self._is_closed:
                        if self._waiting:
                            # What has to go alone waits for a connection of its own: ours, when it is closed.
                            return bool(self._line(is_fresh=False))
                        await self._signal.wait()
        finally:
            self._idle_sessions -= 1
        return False

    async def wait_closed(self, seconds: float) -> None:
        """Rest for so long, or until nothing more is handed out."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._is_closed:
                    await self._signal.wait()

    def _claims(self) -> list[Claim]:
        return [*(one.claim for one in (*self._ready, *self._last)), *self.unread]

    @property
    def _waiting(self) -> int:
        return len(self._ready) + len(self._last)

    def _take(self, *, is_fresh: bool) -> Outgoing | None:
        line = self._line(is_fresh=is_fresh)
        if not line:
            return None
        outgoing = line.popleft()
        self.in_hand += 1
        self._held_octets -= outgoing.held_octets
        self.woken.set()
        return outgoing

    def _line(self, *, is_fresh: bool) -> deque[Outgoing]:
        """The line whose turn it is."""
        if self._last and not self._ready and not is_fresh and self._breaks(self._last[0].claim).must_be_alone:
            return self._ready
        return self._ready or self._last

    def _tell(self) -> None:
        self._signal.set()
        self._signal = asyncio.Event()
