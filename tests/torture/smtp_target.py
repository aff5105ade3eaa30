"""The fuzz targets on the way to the relay: `python -m tests.torture.smtp_target NAME CORPUS -runs=1000000`.

NAME is one of `tests.support.smtp_fuzz.CHECKS`, the options are those of libFuzzer. Coverage leads it (atheris); what
it finds is written to a file, and the check of that name fails on what is in it.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(
    include=[
        *("stages.smtp", "stages.mail", "stages.lines", "stages.submit.verdict", "stages.submit.conclusion"),
        *("stages.validate.reverse_path", "stages.validate.checks", "spool.safe_text"),
    ]
):
    from tests.support.smtp_fuzz import CHECKS

if __name__ == "__main__":
    program, name, *options = sys.argv
    atheris.Setup([program, *options], CHECKS[name])
    atheris.Fuzz()
