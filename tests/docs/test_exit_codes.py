"""The exit codes that the documentation promises."""

from __future__ import annotations

import os
import re

from pipeline.exit_codes import ExitCode
from tests.docs.markdown import REFERENCE, ROOT, rows

TABLE = rows((REFERENCE / "exit-codes.md").read_text())
# What a shell shows for a signal is no code of sysexits(3).
_SIGNALS = (ExitCode.INTERRUPTED, ExitCode.BROKEN_PIPE)


def test_the_page_has_every_exit_code_and_no_other() -> None:
    assert [int(row[0]) for row in TABLE] == list(ExitCode)


def test_a_code_has_the_name_that_the_system_gives_it() -> None:
    names = {int(code): name for code, name, *_ in TABLE}
    assert {code: os.EX_OK if name == "-" else getattr(os, name) for code, name in names.items()} == {
        code: 0 if code in _SIGNALS else code for code in ExitCode
    }


def test_the_readme_has_those_of_sysexits() -> None:
    (sentence,) = re.findall(r"sysexits\(3\): (.*?)\.", (ROOT / "README.md").read_text(), re.DOTALL)
    assert [int(code) for code in re.findall(r"\d+", sentence)] == [code for code in ExitCode if code not in _SIGNALS]
