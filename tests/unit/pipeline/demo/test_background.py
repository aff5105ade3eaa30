"""A server in a thread is entered and left like one in the caller's own loop."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pipeline.demo.background import serving


class Unwell(Exception):
    """What the tests' own servers and callers raise."""


@asynccontextmanager
async def noting(steps: list[str]) -> AsyncIterator[str]:
    steps.append("entered")
    yield "server"
    steps.append("left")


@asynccontextmanager
async def failing_to_start() -> AsyncIterator[str]:
    if threading.current_thread() is not threading.main_thread():
        raise Unwell
    yield "server"


def test_the_server_is_left_when_the_caller_fails() -> None:
    steps: list[str] = []
    with pytest.raises(Unwell), serving(noting(steps)):
        raise Unwell
    assert steps == ["entered", "left"]


def test_a_server_that_does_not_start_tells_its_caller() -> None:
    with pytest.raises(Unwell), serving(failing_to_start()):
        pass


def test_the_thread_ends_with_the_server() -> None:
    with serving(noting([])):
        pass
    assert [thread.name for thread in threading.enumerate() if thread.name == "demo-server"] == []
