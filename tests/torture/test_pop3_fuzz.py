"""A million inputs for the POP3 client: no crash, no hang, and the same end however the octets are cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fuzzing import run_target
from tests.support.pop3_fuzz import ANSWERED, HEAD_OCTETS
from tests.support.processes import ROOT
from tests.support.scripted_server import Step, load_all

DIALOGUES = ROOT / "tests" / "dialogues" / "pop3"
MAX_OCTETS = 400


def beginnings() -> Iterator[bytes]:
    """What the dialogues say, behind several heads."""
    for path in DIALOGUES.glob("*.txt"):
        for at, script in enumerate(load_all(path)):
            said = ANSWERED.join(line.octets for line in script if line.step is Step.SEND)
            for choice in (0, 1, 2, 3, 130):
                yield bytes([at, 4, choice, 1]).ljust(HEAD_OCTETS, b"\0") + said[-MAX_OCTETS:]


@pytest.mark.torture
def test_a_million_inputs_break_no_promise(tmp_path: Path) -> None:
    run_target(
        "tests.torture.pop3_target",
        beginnings=beginnings(),
        max_octets=MAX_OCTETS + HEAD_OCTETS,
        directory=tmp_path,
    )
