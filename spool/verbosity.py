"""Whose dialogue the operator wants logged; kept in the index, so that a stage that starts later heeds it too.

**Invariants:** what was wished for one name counts more than what was wished for all; a wish for all takes back those
for single names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from spool import models
from spool.opening import Spool

EVERYBODY = ""
RELAY = " relay"  # no account's name begins with a space


@dataclass(frozen=True, slots=True, kw_only=True)
class Verbosity:
    """The wishes, by account, `RELAY` or `EVERYBODY`."""

    wishes: Mapping[str, bool] = field(default_factory=dict)

    @property
    def is_general(self) -> bool:
        """Whether all are verbose of whom nothing else was wished."""
        return self.wishes.get(EVERYBODY, False)

    def of(self, name: str) -> bool:
        """Whether the dialogue of this account, or of the relay, is to be logged."""
        return self.wishes.get(name, self.is_general)

    def exceptions(self) -> list[str]:
        """The names of which something else was wished than of all."""
        return sorted(name for name, wish in self.wishes.items() if name != EVERYBODY and wish != self.is_general)


def read_verbosity(spool: Spool) -> Verbosity:
    """What is wished now."""
    with spool.index.read() as connection:
        rows = connection.execute(select(models.verbosity)).all()
    return Verbosity(wishes={row.account: row.is_verbose for row in rows})


def set_verbosity(spool: Spool, name: str, *, is_verbose: bool) -> None:
    """Wish something of an account, of the `RELAY`, or of `EVERYBODY`. Whoever does rings the stages after it."""
    table = models.verbosity
    row = {"account": name, "is_verbose": is_verbose, "set_at": spool.now_ms()}
    with spool.index.write() as connection:
        if name == EVERYBODY:
            connection.execute(delete(table))
        statement = insert(table).values(row)
        connection.execute(statement.on_conflict_do_update(index_elements=["account"], set_=row))
