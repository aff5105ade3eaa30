"""Run a fuzz target of tests/torture to its end: a million inputs, led by coverage."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.support.processes import ROOT

RUNS = 1_000_000
HANG_SECONDS = 10


def run_target(
    module: str, *arguments: str, beginnings: Iterable[bytes], max_octets: int, directory: Path, runs: int = RUNS
) -> None:
    """Fail with what libFuzzer says where an input breaks a promise or hangs.

    `beginnings` are the inputs that it varies at first; what it finds is left in `directory`.
    """
    corpus = directory / "corpus"
    corpus.mkdir()
    for number, octets in enumerate(beginnings):
        (corpus / str(number)).write_bytes(octets[:max_octets])
    options = [f"-runs={runs}", f"-max_len={max_octets}", f"-timeout={HANG_SECONDS}", f"-artifact_prefix={directory}/"]
    command = [sys.executable, "-m", module, *arguments, str(corpus), *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    assert f"Done {runs} runs" in run.stderr
