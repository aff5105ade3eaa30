"""A million inputs each for the reply parser, the header scan, the address parser and the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fuzzing import run_target
from tests.support.processes import ROOT
from tests.support.scripted_server import Step, load
from tests.support.smuggling import SEQUENCES

DIALOGUES = ROOT / "tests" / "dialogues" / "smtp"
MAX_OCTETS = {"replies": 400, "header": 600, "addresses": 200, "verdict": 24}
PATHS = (
    *(b"<a@example.org>", b"a", b"<>", b"<MAILER-DAEMON>", b'"a b"@example.org', b"Ann (x) <@b.example:a@example.org>"),
    *(b"a@[192.0.2.1]", b"Staff: a@example.org, b@example.org;", "é@bücher.example".encode()),
)


def beginnings(name: str) -> Iterator[bytes]:
    """What the fuzzer begins with."""
    match name:
        case "replies":
            for path in DIALOGUES.glob("*.txt"):
                said = b"".join(line.octets for line in load(path) if line.step is Step.SEND)
                yield from (bytes([choice]) + said for choice in (2, 3, 4, 128))
        case "header":
            yield from (b"Return-Path: %s\r\nSubject: =?utf-8?q?x?=\r\n\r\nbody" % path for path in PATHS)
            yield from (b"From x y\r\nSender: a%sFrom: b@example.org\r\n" % one for one in SEQUENCES)
        case "addresses":
            yield from PATHS
        case _:
            yield from (bytes([head, 1, 2]) + b"\0" * length for head in (0, 2, 66, 131) for length in (1, 4, 8, 14))


@pytest.mark.torture
@pytest.mark.parametrize("name", MAX_OCTETS)
def test_a_million_inputs_break_no_promise(tmp_path: Path, name: str) -> None:
    run_target(
        "tests.torture.smtp_target",
        name,
        beginnings=beginnings(name),
        max_octets=MAX_OCTETS[name],
        directory=tmp_path,
    )
