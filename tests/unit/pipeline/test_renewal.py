"""How changed settings travel from the supervisor to a stage."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.renewal import channel, receive, send
from stages.settings import Settings
from tests.support.settings import account, default_settings


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = channel()
    yield ours, theirs
    ours.close()
    theirs.close()


def every_kind(directory: Path) -> Settings:
    """Settings with each kind of value that they can have."""
    file = directory / "pop3connector.toml"
    file.write_text("""
        [smtp]
        username = "gw"
        password_env = "RELAY_PASSWORD"
        tls_fingerprint = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
        [submit]
        notify = "postmaster@corp.example"
        [[accounts]]
        name = "a"
        host = "pop.isp.example"
        username = "a"
        password = "secret"
        deliver_to = "a@corp.example"
        leave_on_server = true
        [[accounts]]
        name = "b"
        host = "pop.isp.example"
        username = "b"
        password_command = "pass b"
        deliver_to = "b@corp.example"
        [[accounts]]
        name = "c"
        host = "pop.isp.example"
        username = "c"
        deliver_to = ["c@corp.example", "d@corp.example"]
        [accounts.oauth2]
        token_endpoint = "https://login.isp.example/token"
        client_id = "x"
        refresh_token_credential = "c"
    """)
    file.chmod(0o600)
    return load(file, os.environ)


def test_settings_arrive_as_they_were_sent(ends: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    ours, theirs = ends
    settings = every_kind(tmp_path)
    send(ours, settings)
    assert receive(theirs) == settings


def test_the_supervisor_does_not_wait_for_a_stage_that_does_not_read(
    ends: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    """More than any buffer of a socket holds; a stage may be stopped in a debugger."""
    ours, theirs = ends
    plain = default_settings(tmp_path)
    many = replace(plain, accounts=(replace(account(), deliver_to=("x" * 1_000_000,)),))
    for _ in range(20):
        send(ours, many)
    send(ours, plain)
    received = [receive(theirs) for _ in range(21)]
    assert received[-1] == plain


def test_nothing_has_come_and_nobody_is_there_are_different_things(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    with pytest.raises(BlockingIOError):
        receive(theirs)
    ours.close()
    assert receive(theirs) is None


def test_a_descriptor_that_was_received_is_closed(ends: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    ours, theirs = ends
    before = set(os.listdir("/proc/self/fd"))
    send(ours, default_settings(tmp_path))
    receive(theirs)
    assert len(os.listdir("/proc/self/fd")) == len(before)
