"""`pickup ls`: what lies in Pickup, and why it is not taken."""

from __future__ import annotations

from pipeline.cli.output import print_json, print_table, rfc3339
from pipeline.cli.paging import paged
from spool import queries
from spool.layout import Stage
from spool.opening import Spool
from stages.pickup.waiting import Waiting, waiting
from stages.settings import PickupSettings


def list_pickup(spool: Spool, settings: PickupSettings, *, json: bool) -> None:
    """List everything in Pickup but what is being taken."""
    found = waiting(spool.layout, owner_uids=settings.owner_uids)
    if json:
        print_json(
            [
                {
                    "file": one.file,
                    "octets": one.octets,
                    "modified_at": rfc3339(one.modified_at),
                    "is_ignored": one.is_ignored,
                    "why": one.why,
                }
                for one in found
            ]
        )
        return
    its_turn = "its turn comes" if queries.is_running(spool, Stage.PICKUP) else "no pickup process runs"
    with paged():
        print_table(
            ("file", "octets", "modified", "why"),
            ((one.file, one.octets, rfc3339(one.modified_at), _why(one) or its_turn) for one in found),
            elastic="why",
            right=("octets",),
        )


def _why(one: Waiting) -> str | None:
    return f"ignored: {one.why}" if one.is_ignored else one.why
