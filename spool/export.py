"""Copy files out of Badmail, as they are: to another machine, to a lawyer, to whoever is to look at them.

**Invariants:** nothing that is there is overwritten; a copy has its name when it is whole and synced; the spool stays
as it is, and no copy is put into it: Pickup would send it.
**Failures:** `ExportRefused` (the directory), `NotFound`, `ForbiddenTransition` (not in Badmail, or a file of its name
is there), `Damaged` (its file cannot be read), `SpoolFailed` (the disk said no).
"""

from __future__ import annotations

import os
from pathlib import Path

from spool.content import badmail_pieces
from spool.errors import ForbiddenTransition, SpoolError
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.rows import find_message
from spool.staging import spool_failures
from spool.states import State
from spool.wishes import not_in_badmail, standing_of


class ExportRefused(SpoolError):
    """The directory is no place for copies."""


def export_to(spool: Spool, directory: Path) -> Path:
    """Where copies go: `directory`, made where it is not there; raises ExportRefused."""
    target = directory.resolve()
    if target.is_relative_to(spool.layout.root.resolve()):
        raise ExportRefused(f"{directory} is inside the spool: choose a directory elsewhere")
    try:
        if spool.disk.make_directory(target):
            spool.disk.sync_directory(target.parent)
    except OSError as error:
        raise ExportRefused(f"{directory}: {error.strerror}") from error
    if not target.is_dir():
        raise ExportRefused(f"{directory} is not a directory")
    return target


def exported(spool: Spool, queue_id: QueueId, *, directory: Path) -> Path:
    """Copy the file of a Badmail message into `directory`, durably; answers the copy."""
    with spool.index.read() as connection:
        message = find_message(connection, queue_id, layout=spool.layout)
    if message.state is not State.BADMAIL:
        raise ForbiddenTransition(f"message {queue_id} {not_in_badmail(standing_of(message))}")
    copy = directory / spool.layout.badmail_message(queue_id).name
    if os.path.lexists(copy):
        raise ForbiddenTransition(f"message {queue_id} is not copied: {copy} is there already")
    with spool_failures(f"export to {directory}"):
        spool.disk.write_file(copy, badmail_pieces(spool, queue_id, start=0))
    return copy
