"""The fuzz target over the POP3 client: `python -m tests.torture.pop3_target CORPUS -runs=1000000`.

The options are those of libFuzzer. Coverage leads it (atheris); what it finds is written to a file, and
`tests.support.pop3_fuzz.check` fails on what is in it.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["stages.pop3", "stages.lines", "spool.safe_text"]):
    from tests.support.pop3_fuzz import check

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
