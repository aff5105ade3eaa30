"""`pickup ls`."""

from __future__ import annotations

import os

from spool.doorbell import Doorbell
from spool.layout import Stage
from spool.opening import Spool
from spool.queue_id import new_queue_id
from tests.support.dropping import FILE, drop
from tests.support.shell import Shell


def test_each_file_is_listed_with_what_keeps_it(shell: Shell, spool: Spool) -> None:
    drop(spool, name="a.eml")
    drop(spool, name="b.EML")
    drop(spool, name="c.eml.tmp")
    drop(spool, name=".d.eml")
    (spool.layout.pickup / "e.eml").symlink_to("/etc/passwd")
    os.mkfifo(spool.layout.pickup / "f.eml")
    bell = Doorbell(spool, Stage.PICKUP)
    with drop(spool, name="g.eml").open("ab"):
        found = {line.split()[0]: " ".join(line.split()[3:]) for line in shell.lines("pickup", "ls")[1:]}
    bell.close()
    assert found == {
        "a.eml": "its turn comes",
        "b.EML": "ignored: its name does not end in .eml",
        "c.eml.tmp": "ignored: its name does not end in .eml: whoever writes it has not finished, or was killed",
        ".d.eml": "ignored: its name begins with a dot",
        "e.eml": "it is a symbolic link, not a regular file: remove it, and copy the message itself here",
        "f.eml": "it is a FIFO, not a regular file: remove it, and copy the message itself here",
        "g.eml": "a process has it open for writing",
    }


def test_where_nobody_takes_files_that_is_said(shell: Shell, spool: Spool) -> None:
    drop(spool)
    assert shell.lines("pickup", "ls")[1].endswith("no pickup process runs")


def test_what_is_being_taken_is_not_listed(shell: Shell, spool: Spool) -> None:
    spool.layout.pickup_claim(new_queue_id()).touch()
    assert shell.objects("pickup", "ls") == []


def test_a_program_is_told_the_same(shell: Shell, spool: Spool) -> None:
    os.utime(drop(spool, name="x.txt"), (0, 0))
    assert shell.objects("pickup", "ls") == [
        {
            "file": "x.txt",
            "octets": len(FILE),
            "modified_at": "1970-01-01T00:00:00Z",
            "is_ignored": True,
            "why": "its name does not end in .eml",
        }
    ]


def test_a_name_cannot_move_the_cursor(shell: Shell, spool: Spool) -> None:
    drop(spool, name="\x1b[2J\n\udcff.eml")
    assert shell.lines("pickup", "ls")[1].isprintable()
    assert str(shell.objects("pickup", "ls")[0]["file"]).isprintable()
