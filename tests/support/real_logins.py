"""A Dovecot whose users have their passwords stored in different forms, and what they log in with."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from stages.sasl.credentials import Credentials
from stages.secret import Secret
from stages.settings import AuthMethod
from tests.support.dovecot import Dovecot, dovecot
from tests.support.introspection import introspection

TOKEN = "ya29.a-token"


@contextmanager
def judge_of_logins() -> Iterator[Dovecot]:
    """alice's password is stored as it is, bob's as a hash that only plain text can be compared with.

    joerg's is beyond ASCII. `TOKEN` is alice's.
    """
    hashed = "{SHA256}" + b64encode(sha256(b"secret").digest()).decode()
    users = {"alice": "secret", "bob": hashed, "joerg": "pässwörd, =€"}
    with introspection({TOKEN: "alice"}) as port, dovecot(users, introspection_port=port) as server:
        yield server


def password(secret: str, method: AuthMethod = AuthMethod.AUTO, *, username: str = "alice") -> Credentials:
    return Credentials(username=username, password=Secret(secret), method=method)


def token(secret: str, method: AuthMethod = AuthMethod.AUTO) -> Credentials:
    return Credentials(username="alice", token=Secret(secret), method=method)
