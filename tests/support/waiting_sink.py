"""A relay that thinks over each message until it is told what to answer: the moment in which a claim is under way."""

from __future__ import annotations

import queue
import threading

from pipeline.demo.smtp_sink import Part, SmtpSink

PATIENCE_SECONDS = 30.0
ACCEPT = ""


class WaitingSink(SmtpSink):
    """Stops at the final dot. For one connection at a time, in a thread of its own (`serving`)."""

    def __init__(self) -> None:
        super().__init__()
        self._at_dot: queue.Queue[str] = queue.Queue()
        self._answers: queue.Queue[str] = queue.Queue()
        self.is_patient = True
        self.seen: list[str] = []
        self._lock = threading.Lock()

    def verdict(self, part: Part, octets: bytes) -> str | None:
        """Wait, where the message is whole."""
        if part is not Part.CONTENT or not self.is_patient:
            return super().verdict(part, octets)
        queue_id = octets.split(b" id ")[1].split()[0].decode()
        with self._lock:
            self.seen.append(queue_id)
        self._at_dot.put(queue_id)
        return self._answers.get(timeout=PATIENCE_SECONDS) or None

    def next_at_dot(self) -> str:
        """The queue id of the next message whose final dot has come; its sender waits for the reply."""
        return self._at_dot.get(timeout=PATIENCE_SECONDS)

    def answer(self, reply: str) -> None:
        """Reply to it."""
        self._answers.put(reply)
