"""Count what one reply cannot show: a message that breaks sessions, a session near its end, a route that refuses all.

**Invariants:** pure values and functions; each value belongs to its owner (a message, the route) and is replaced, never
changed. A message's breaks are kept with its row; the counts of the route live in the memory of the stage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

BREAKS_UNTIL_REFUSED = 3
REFUSALS_UNTIL_ALARM = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaks:
    """How often sessions broke in the hands of one message.

    A break counts when it is the first, or when the route has accepted other messages since the one counted before it:
    without that the route was sick all the time, and the message had no part in it.
    """

    count: int = 0
    acceptances: int = 0

    @property
    def goes_last(self) -> bool:
        """Behind all messages that are due, and no probe of the circuit while another is there."""
        return self.count > 0

    @property
    def must_be_alone(self) -> bool:
        """The next attempt decides, and nothing else may travel in its session."""
        return self.count == BREAKS_UNTIL_REFUSED - 1

    @property
    def is_refused(self) -> bool:
        """This message breaks sessions: Badmail."""
        return self.count >= BREAKS_UNTIL_REFUSED

    def after_break(self, *, acceptances: int) -> Breaks:
        """Note a break; `acceptances` is how many messages the route has accepted in all."""
        if self.count and acceptances == self.acceptances:
            return self
        return Breaks(count=self.count + 1, acceptances=acceptances)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """The route's refusals in a row, and its acceptances in all."""

    in_a_row: int = 0
    acceptances: int = 0

    @property
    def is_alarming(self) -> bool:
        """True once for each row of refusals: when its tenth has just been noted."""
        return self.in_a_row == REFUSALS_UNTIL_ALARM

    def after_acceptance(self) -> Refusals:
        """Note that a message was accepted."""
        return Refusals(acceptances=self.acceptances + 1)

    def after_refusal(self) -> Refusals:
        """Note that a message was refused."""
        return replace(self, in_a_row=self.in_a_row + 1)


def must_renew(errors: int, *, max_protocol_errors: int) -> bool:
    """Whether a session with so many 5yz replies is to be ended by us before the relay ends it."""
    return errors >= max_protocol_errors
