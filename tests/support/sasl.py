"""Identities and the server's side of SCRAM and NTLM, for the tests of logins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import scramp
import spnego
from spnego.exceptions import SpnegoError

from stages.sasl.exchange import Identity
from stages.secret import Secret


def identity(username: str = "alice", secret: str = "secret", *, host: str = "pop.isp.example") -> Identity:
    return Identity(username=username, secret=Secret(secret), service="pop", host=host, port=110)


class Refused(Exception):
    """The acceptor does not believe the client."""


class Acceptor(Protocol):
    """One exchange of the server: `accept` is given responses and returns challenges, None for success."""

    def accept(self, response: bytes) -> bytes | None: ...


class ScramAcceptor:
    """scramp's own server; `password` is what it has stored for every user."""

    def __init__(self, mechanism: str, password: str, *, iterations: int = 4096) -> None:
        made = scramp.ScramMechanism(mechanism)
        stored = made.make_auth_info(password, iteration_count=iterations)
        self._server = made.make_server(lambda _username: stored)
        self._round = 0

    def accept(self, response: bytes) -> bytes | None:
        self._round += 1
        try:
            match self._round:
                case 1:
                    self._server.set_client_first(response.decode())
                    return bytes(self._server.get_server_first(), "ascii")
                case 2:
                    self._server.set_client_final(response.decode())
                    return bytes(self._server.get_server_final(), "ascii")
                case _:
                    assert response == b""
                    return None
        except scramp.ScramException as error:
            raise Refused from error


class NtlmAcceptor:
    """pyspnego's own server; NTLM_USER_FILE must name a file from `ntlm_users`."""

    def __init__(self) -> None:
        self._server = spnego.server(protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm)

    def accept(self, response: bytes) -> bytes | None:
        try:
            challenge = self._server.step(response)
        except SpnegoError as error:
            raise Refused from error
        return None if self._server.complete else challenge


class Changed:
    """An acceptor whose challenges are changed on their way."""

    def __init__(self, acceptor: Acceptor, *, change: Callable[[bytes], bytes]) -> None:
        self._acceptor = acceptor
        self._change = change

    def accept(self, response: bytes) -> bytes | None:
        challenge = self._acceptor.accept(response)
        return None if challenge is None else self._change(challenge)


def ntlm_users(path: Path, **passwords: str) -> Path:
    """Write the file that pyspnego's server reads."""
    path.write_text("".join(f":{user}:{password}\n" for user, password in passwords.items()))
    return path
