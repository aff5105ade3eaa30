"""`badmail export`: copy the files of Badmail to a directory of the operator's."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli.choices import Choice
from pipeline.cli.choosing import chosen_in_badmail, counted
from pipeline.cli.invocation import Invocation
from pipeline.cli.output import shown
from pipeline.endings import CommandFailed, exit_code_of, line_of, say
from pipeline.exit_codes import ExitCode
from spool.errors import Damaged, ForbiddenTransition, NotFound
from spool.export import ExportRefused, export_to, exported


def export(invocation: Invocation, directory: Path, *, choice: Choice) -> int:
    """Copy files one by one and answer the exit code; one that cannot be copied keeps none of the others back."""
    with invocation.reading() as spool:
        chosen = chosen_in_badmail(spool, choice, is_all_meant=True)
        code, copied = chosen.code, 0
        try:
            target = export_to(spool, directory)
        except ExportRefused as error:
            raise CommandFailed(ExitCode.USAGE, str(error)) from None
        for one in chosen.queue_ids:
            try:
                exported(spool, one, directory=target)
            except (NotFound, ForbiddenTransition, Damaged) as error:
                say(line_of(error))
                code = exit_code_of(error)
            else:
                copied += 1
        print(f"{counted(copied, 'message')} exported to {shown(str(directory))}")
    return code
