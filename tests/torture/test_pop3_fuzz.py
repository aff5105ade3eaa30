"""A million inputs for the POP3 client: no crash, no hang, and the same end however the octets are cut."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pop3_fuzz import ANSWERED, HEAD_OCTETS
from tests.support.scripted_server import Step, load_all

ROOT = Path(__file__).parents[2]
DIALOGUES = ROOT / "tests" / "dialogues" / "pop3"
RUNS = 1_000_000
MAX_OCTETS = 400


def seed(corpus: Path) -> None:
    """Begin with what the dialogues say, behind several heads."""
    for path in DIALOGUES.glob("*.txt"):
        for at, script in enumerate(load_all(path)):
            said = ANSWERED.join(line.octets for line in script if line.step is Step.SEND)
            for choice in (0, 1, 2, 3, 130):
                head = bytes([at, 4, choice, 1]).ljust(HEAD_OCTETS, b"\0")
                (corpus / f"{path.stem}-{at}-{choice}").write_bytes(head + said[-MAX_OCTETS:])


@pytest.mark.torture
def test_a_million_inputs_break_no_promise(tmp_path: Path) -> None:
    """An input that takes longer than ten seconds is a hang."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    seed(corpus)
    options = [f"-runs={RUNS}", f"-max_len={MAX_OCTETS + HEAD_OCTETS}", "-timeout=10", f"-artifact_prefix={tmp_path}/"]
    command = [sys.executable, "-m", "tests.torture.pop3_target", str(corpus), *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    assert f"Done {RUNS} runs" in run.stderr
