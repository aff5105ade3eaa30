"""`spool verify`, `spool rebuild` and `db`."""

from __future__ import annotations

import os

from spool.layout import Stage
from spool.locks import hold
from spool.models import SCHEMA_REVISION
from spool.opening import Spool
from tests.support.shell import Shell
from tests.support.spools import admit, arrival, letters, queue_ids


def test_verify_json_has_the_fields_of_the_contract(shell: Shell, spool: Spool) -> None:
    admit(spool, *letters(2))
    assert shell.json("spool", "verify") == {"ok": True, "checked": 2, "problems": [], "remarks": []}


def test_damage_is_a_data_error(shell: Shell, spool: Spool) -> None:
    admit(spool, arrival())
    (segment,) = spool.layout.segments.iterdir()
    octets = bytearray(segment.read_bytes())
    octets[-5] ^= 1
    segment.write_bytes(octets)
    assert shell.run("spool", "verify") == 65


def test_a_lost_index_is_made_anew_from_the_files(shell: Shell, spool: Spool) -> None:
    admit(spool, *letters(3))
    before = queue_ids(spool)
    spool.close()
    for path in spool.layout.root.glob("index.sqlite3*"):
        path.unlink()
    assert shell.failure("spool", "ls")[0] == 74
    assert shell.run("spool", "rebuild") == 0
    assert [one["id"] for one in shell.objects("spool", "ls")] == before


def test_rebuild_and_upgrade_leave_a_running_stage_alone(shell: Shell, spool: Spool) -> None:
    with hold(spool.layout, Stage.SUBMIT):
        for command in (("spool", "rebuild"), ("db", "upgrade")):
            assert shell.failure(*command) == (75, f"pop3connector: submit is held by process {os.getpid()}\n")


def test_the_schema_is_told(shell: Shell, spool: Spool) -> None:
    assert shell.lines("db", "current") == [SCHEMA_REVISION]
