"""The login of a person on another device (RFC 8628), against a provider on loopback; nobody really waits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spool.token_file import TokenFile
from stages.errors import OperatorMustAct, StageError, TryLater
from stages.oauth.device import LoginDenied, log_in
from stages.oauth.grants import DeviceCode
from stages.oauth.keeper import Keeper
from stages.secret import Secret
from stages.settings import OAuth2Client
from tests.support.faulty_disk import FaultyDisk
from tests.support.provider import Provider, Reply, provider, refusal

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Provider]:
    with provider(tmp_path) as found:
        yield found


class Person:
    """Who is shown the code, and how long is waited for them."""

    def __init__(self, client: OAuth2Client, disk: FaultyDisk | None = None) -> None:
        self.keeper = Keeper("sales", client, env={}, now=lambda: NOW, file=TokenFile(client.spool, "sales", disk=disk))
        self.shown: list[DeviceCode] = []
        self.waits: list[float] = []

    def log_in(self) -> None:
        log_in(self.keeper, show=self.shown.append, sleep=self.waits.append)

    def fails(self, kind: type[StageError]) -> str:
        with pytest.raises(kind) as error:
            self.log_in()
        assert str(error.value).isprintable()
        return str(error.value)


@pytest.fixture
def person(served: Provider, tmp_path: Path) -> Person:
    return Person(served.client(tmp_path / "spool", refresh_token=None))


def after_the_code(served: Provider, *replies: Reply) -> None:
    """What the token endpoint says, behind the usual answer of the device endpoint."""
    served.replies.extend([served._device_code(), *replies])


def test_a_login_ends_with_a_token_that_is_kept(served: Provider, person: Person) -> None:
    person.log_in()
    assert [code.user_code for code in person.shown] == ["WDJB-MJHT"]
    assert served.forms == [
        {"client_id": "our-application", "client_secret": "client-secret", "scope": "pop offline_access"},
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "device_code": "device-code",
            "client_id": "our-application",
            "client_secret": "client-secret",
        },
    ]
    assert person.keeper.access_token() == Secret("access-1")


def test_what_a_login_gave_comes_before_the_refresh_token_of_the_configuration(
    served: Provider, tmp_path: Path
) -> None:
    served.lifetime = None
    person = Person(served.client(tmp_path / "spool", refresh_token=Secret("of the configuration")))
    person.log_in()
    person.keeper.access_token()
    assert served.forms[-1]["refresh_token"] == "refresh-1"


def test_the_endpoint_is_asked_at_its_own_pace(served: Provider, person: Person) -> None:
    """RFC 8628 section 3.5: slow_down adds five seconds for good."""
    pending = refusal("authorization_pending")
    after_the_code(served, pending, pending, refusal("slow_down"), pending)
    person.log_in()
    assert person.waits == [5, 5, 5, 10, 10]


def test_an_endpoint_that_cannot_be_reached_is_asked_less_and_less(served: Provider, person: Person) -> None:
    after_the_code(served, Reply(cut=0, body=b"x"), Reply(status=503), refusal("authorization_pending"))
    person.log_in()
    assert person.waits == [5, 10, 20, 20]


def test_a_person_who_says_no_ends_it(served: Provider, person: Person) -> None:
    after_the_code(served, refusal("authorization_pending"), refusal("access_denied"))
    assert person.fails(LoginDenied) == "the login was refused (the provider says access_denied)"


@pytest.mark.parametrize("last", [refusal("expired_token"), refusal("authorization_pending")])
def test_a_code_that_runs_out_ends_it(served: Provider, person: Person, last: Reply) -> None:
    after_the_code(served, *[refusal("authorization_pending")] * 179, last, last)
    assert person.fails(TryLater) == "the code ran out before it was entered: run the command again"
    assert sum(person.waits) == 900


def test_a_client_that_may_not_use_the_flow_is_told(served: Provider, person: Person) -> None:
    served.replies.append(refusal("unauthorized_client", "not enabled"))
    assert "unauthorized_client: not enabled" in person.fails(OperatorMustAct)
    assert not person.shown


def test_a_grant_without_a_refresh_token_names_the_scope_that_lacks(served: Provider, person: Person) -> None:
    served.rotates = False
    assert "does oauth2.scope lack offline_access?" in person.fails(OperatorMustAct)


def test_nobody_is_asked_for_a_code_that_could_not_be_kept(served: Provider, tmp_path: Path) -> None:
    disk = FaultyDisk()
    disk.fail(1, lasting=True)
    person = Person(served.client(tmp_path / "spool"), disk)
    person.fails(TryLater)
    assert not served.forms


def test_without_a_device_endpoint_the_key_is_named(served: Provider, tmp_path: Path) -> None:
    person = Person(served.client(tmp_path / "spool", device_endpoint=None))
    assert "oauth2.device_endpoint is not set" in person.fails(OperatorMustAct)


def test_the_device_code_is_never_shown(served: Provider, person: Person) -> None:
    """Whoever has it can fetch the token."""
    after_the_code(served, refusal("invalid_grant", "device-code is unknown"))
    assert "device-code" not in person.fails(OperatorMustAct)
    assert "device-code" not in repr(person.shown)
