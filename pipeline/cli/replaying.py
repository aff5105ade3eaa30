"""`badmail replay`: send refused messages again, with a mended envelope where one is given."""

from __future__ import annotations

from pipeline.cli.adding import Envelope
from pipeline.cli.choices import Choice
from pipeline.cli.choosing import chosen_in_badmail
from pipeline.cli.invocation import Invocation
from pipeline.endings import exit_code_of, line_of, say
from spool import queries
from spool.doorbell import ring
from spool.errors import Damaged, ForbiddenTransition, NotFound
from spool.layout import Stage
from spool.replay import begin_replay


def replay(invocation: Invocation, choice: Choice, *, envelope: Envelope) -> int:
    """Replay messages one by one and answer the exit code; one that cannot be keeps none of the others back."""
    with invocation.reading() as spool:
        chosen = chosen_in_badmail(spool, choice)
        code = chosen.code
        for one in chosen.queue_ids:
            # Who says "all" means those that are not on their way already.
            if not choice.texts and queries.message(spool, one).replay_id:
                continue
            try:
                child = begin_replay(spool, one, sender=envelope.sender, recipients=envelope.recipients)
            except (NotFound, ForbiddenTransition, Damaged) as error:
                say(line_of(error))
                code = exit_code_of(error)
            else:
                print(f"{one} replayed as {child}")
        ring(spool, Stage.PICKUP)
    return code
