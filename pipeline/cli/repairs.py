"""Check and mend the spool: `spool verify`, `spool rebuild`, `db`."""

from __future__ import annotations

from pipeline.cli.bar import bar
from pipeline.cli.output import print_json, shown
from pipeline.exit_codes import ExitCode
from pipeline.mirroring import mirror
from spool.index import schema_revision
from spool.layout import Layout
from spool.locks import RUN, hold, hold_all_stages
from spool.models import SCHEMA_REVISION
from spool.opening import Spool, open_spool
from spool.queries import open_for_reading
from stages.settings import Settings


def verify_spool(spool: Spool, *, json: bool) -> int:
    """Check every message and answer the exit code: 65 where something is wrong."""
    from spool.verify import verify  # noqa: PLC0415 - the other commands here work without

    with bar("checking") as tell:
        found = verify(spool, tell)
    if json:
        print_json(
            {
                "ok": found.ok,
                "checked": found.checked,
                "problems": list(found.problems),
                "remarks": list(found.remarks),
            }
        )
    else:
        for problem in found.problems:
            print(shown(problem))
        for remark in found.remarks:
            print(shown(f"remark: {remark}"))
        print(f"{found.checked} messages checked, {len(found.problems)} problems")
    return ExitCode.OK if found.ok else ExitCode.DATA


def rebuild_index(settings: Settings) -> None:
    """Make the index anew from the files; raises StageHeld while a stage runs."""
    from spool.rebuild import rebuild  # noqa: PLC0415 - as above

    with mirror(settings.log) as listener, bar("rebuilding") as tell:
        found = rebuild(settings.spool.directory, on_events=listener, tell=tell)
    for problem in found.problems:
        print(shown(problem))
    kept = f"; the old one is {found.kept}" if found.kept else ""
    print(f"the index was rebuilt: {found.messages} messages, {found.ledger_entries} ledger entries{kept}")


def upgrade_index(settings: Settings) -> None:
    """Upgrade the schema, with every stage's lock held."""
    spool = open_for_reading(settings.spool.directory, any_revision=True)
    was = schema_revision(spool.index)
    spool.close()
    layout = Layout(settings.spool.directory)
    with hold(layout, RUN), hold_all_stages(layout):
        # Opening it as a stage does upgrades it, after a backup.
        open_spool(settings.spool.directory).close()
    print(f"the index is at schema {SCHEMA_REVISION}" + ("" if was == SCHEMA_REVISION else f", it was at {was}"))


def show_revision(settings: Settings) -> None:
    """Print the schema of the index, and what this version needs where that differs."""
    spool = open_for_reading(settings.spool.directory, any_revision=True)
    try:
        found = schema_revision(spool.index)
    finally:
        spool.close()
    print(found if found == SCHEMA_REVISION else f"{found} (this version needs {SCHEMA_REVISION})")
