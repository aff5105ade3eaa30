"""`spool stats`."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from sqlalchemy import update

from spool import models
from spool.opening import Spool
from tests.support.shell import Shell
from tests.support.spools import admit, arrival, letters, make_ready
from tests.unit.pipeline.cli.test_messages import make_badmail


def test_stats_count_messages_and_octets(shell: Shell, spool: Spool) -> None:
    admit(spool, arrival(b"12345"))
    stats = shell.object("spool", "stats")
    states = stats["states"]
    assert isinstance(states, dict)
    assert (states["staged"]["messages"], states["staged"]["octets"], states["ready"]["messages"]) == (1, 5, 0)


def test_stats_count_by_account_what_waits_and_what_was_refused(shell: Shell, spool: Spool) -> None:
    admit(spool, arrival(b"12345", account="office"))
    make_ready(spool, *letters(2))
    make_badmail(spool)
    found = cast(list[dict[str, object]], shell.object("spool", "stats")["accounts"])
    assert [(one["name"], one["messages"], one["badmail"]) for one in found] == [("office", 1, 0), ("sales", 2, 1)]
    assert found[0]["octets"] == 5


def test_stats_have_a_histogram_of_the_ages_of_what_waits(shell: Shell, spool: Spool) -> None:
    ids = make_ready(spool, *letters(4))
    make_badmail(spool)
    table = models.messages
    ages = [timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=2), timedelta(days=30)]
    with spool.index.write() as connection:
        for queue_id, age in zip(ids, ages, strict=True):
            values = {"fetched_at": models.to_ms(spool.now() - age)}
            connection.execute(update(table).where(table.c.queue_id == queue_id).values(values))
    found = cast(list[dict[str, object]], shell.object("spool", "stats")["ages"])
    assert [one["messages"] for one in found] == [2, 0, 1, 0, 0, 1]
    assert [one["under_seconds"] for one in found] == [600, 3600, 21600, 86400, 604800, None]
    lines = shell.lines("spool", "stats")
    assert [line.split() for line in lines if line.startswith(("under", "over"))][:3] == [
        ["under", "10", "min", "2", "#" * 40],
        ["under", "60", "min", "0"],
        ["under", "6", "h", "1", "#" * 20],
    ]
