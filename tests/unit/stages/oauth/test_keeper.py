"""Keeping tokens, against a provider on loopback and a real file."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from spool.token_file import TokenFile
from stages.errors import OperatorMustAct, TryLater
from stages.oauth.keeper import Keeper
from stages.passwords import PasswordFile
from stages.secret import Secret
from stages.settings import Grant, OAuth2Client
from tests.support.faulty_disk import FaultyDisk
from tests.support.provider import Provider, Reply, provider, refusal
from tests.support.spools import Clock


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("provider")) as served:
        yield served


@pytest.fixture
def served(shared: Provider) -> Provider:
    fresh = Provider(shared.port, shared.ca_file)
    shared.__dict__.update({name: value for name, value in fresh.__dict__.items() if name != "released"})
    return shared


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def keeper(client: OAuth2Client, clock: Clock, *, disk: FaultyDisk | None = None, name: str = "sales") -> Keeper:
    return Keeper(name, client, env={}, now=clock, file=TokenFile(client.spool, name, disk=disk))


def stored(client: OAuth2Client, name: str = "sales") -> dict[str, object]:
    found = json.loads(TokenFile(client.spool, name).read())
    assert isinstance(found, dict)
    return found


def test_a_refresh_token_becomes_an_access_token(served: Provider, spool: Path, clock: Clock) -> None:
    """RFC 6749 section 6."""
    assert keeper(served.client(spool), clock).access_token() == Secret("access-1")
    assert served.forms == [
        {
            "grant_type": "refresh_token",
            "refresh_token": "refresh-0",
            "client_id": "our-application",
            "client_secret": "client-secret",
            "scope": "pop offline_access",
        }
    ]


def test_a_public_client_sends_no_secret(served: Provider, spool: Path, clock: Clock) -> None:
    keeper(served.client(spool, client_secret=None), clock).access_token()
    assert "client_secret" not in served.forms[0]


def test_a_good_token_is_used_again_by_the_next_process_too(served: Provider, spool: Path, clock: Clock) -> None:
    keeper(served.client(spool), clock).access_token()
    clock.advance(timedelta(minutes=54))
    assert keeper(served.client(spool), clock).access_token() == Secret("access-1")
    assert len(served.forms) == 1


def test_a_token_is_renewed_before_it_expires(served: Provider, spool: Path, clock: Clock) -> None:
    keeper(served.client(spool), clock).access_token()
    clock.advance(timedelta(minutes=55))
    assert keeper(served.client(spool), clock).access_token() == Secret("access-2")


def test_a_refresh_token_that_was_replaced_is_the_one_that_is_sent_next(
    served: Provider, spool: Path, clock: Clock
) -> None:
    """RFC 6749 section 6: the old one must be discarded; the configuration still has it."""
    for _ in range(3):
        keeper(served.client(spool), clock).access_token()
        clock.advance(timedelta(hours=1))
    assert [form["refresh_token"] for form in served.forms] == ["refresh-0", "refresh-1", "refresh-2"]


def test_a_refresh_token_that_was_not_replaced_goes_on(served: Provider, spool: Path, clock: Clock) -> None:
    served.rotates = False
    for _ in range(2):
        keeper(served.client(spool), clock).access_token()
        clock.advance(timedelta(hours=1))
    assert [form["refresh_token"] for form in served.forms] == ["refresh-0", "refresh-0"]


def test_a_refresh_token_that_is_new_in_the_configuration_counts(served: Provider, spool: Path, clock: Clock) -> None:
    """Somebody has mended it; what is stored has come out of the old one."""
    keeper(served.client(spool), clock).access_token()
    clock.advance(timedelta(hours=1))
    served.good_refresh_token = "mended"
    mended = served.client(spool, refresh_token=Secret("mended"))
    assert keeper(mended, clock).access_token() == Secret("access-2")


def test_an_access_token_of_another_client_is_not_used(served: Provider, spool: Path, clock: Clock) -> None:
    keeper(served.client(spool), clock).access_token()
    keeper(served.client(spool, scope="other"), clock).access_token()
    assert [form["scope"] for form in served.forms] == ["pop offline_access", "other"]


def test_client_credentials_need_no_refresh_token(served: Provider, spool: Path, clock: Clock) -> None:
    """RFC 6749 section 4.4; Microsoft's POP.AccessAsApp."""
    client = served.client(spool, grant=Grant.CLIENT_CREDENTIALS, refresh_token=None)
    assert keeper(client, clock).access_token() == Secret("access-1")
    assert served.forms == [
        {
            "grant_type": "client_credentials",
            "client_id": "our-application",
            "client_secret": "client-secret",
            "scope": "pop offline_access",
        }
    ]
    assert keeper(client, clock).access_token() == Secret("access-1")


def test_accounts_of_one_client_are_independent(served: Provider, spool: Path, clock: Clock) -> None:
    served.rotates = False
    client = served.client(spool)
    tokens = [keeper(client, clock, name=name).access_token() for name in ("sales", "info")]
    assert tokens == [Secret("access-1"), Secret("access-2")]


def test_a_token_that_a_server_refused_is_renewed(served: Provider, spool: Path, clock: Clock) -> None:
    client = served.client(spool)
    keeper(client, clock).forget(keeper(client, clock).access_token())
    assert keeper(client, clock).access_token() == Secret("access-2")
    assert served.forms[1]["refresh_token"] == "refresh-1"


def test_a_refused_token_that_was_renewed_since_is_no_reason(served: Provider, spool: Path, clock: Clock) -> None:
    """Another process was faster; its token is good."""
    client = served.client(spool)
    keeper(client, clock).access_token()
    keeper(client, clock).forget(Secret("access-0"))
    assert keeper(client, clock).access_token() == Secret("access-1")


def test_the_file_is_private_whatever_the_umask(served: Provider, spool: Path, clock: Clock) -> None:
    before = os.umask(0)
    try:
        keeper(served.client(spool), clock).access_token()
    finally:
        os.umask(before)
    file = TokenFile(spool, "sales").path
    assert (file.stat().st_mode & 0o7777, file.parent.stat().st_mode & 0o7777) == (0o600, 0o700)


def test_what_is_not_understood_counts_as_nothing(served: Provider, spool: Path, clock: Clock) -> None:
    client = served.client(spool)
    with TokenFile(spool, "sales").held(timeout=0):
        TokenFile(spool, "sales").write(b"[" * 100_000)
    assert keeper(client, clock).access_token() == Secret("access-1")


def no_token(keeper: Keeper, kind: type[Exception]) -> str:
    with pytest.raises(kind) as error:
        keeper.access_token()
    said = str(error.value)
    assert said.isprintable()
    return said


def test_a_refresh_token_that_is_no_longer_valid_says_how_to_log_in(
    served: Provider, spool: Path, clock: Clock
) -> None:
    served.good_refresh_token = "another"
    assert no_token(keeper(served.client(spool), clock, name="sales isp"), OperatorMustAct) == (
        "the refresh token is no longer valid (the provider says invalid_grant: Token has been expired or revoked.): "
        "run 'pop3connector accounts login 'sales isp''"
    )


def test_without_any_refresh_token_it_says_the_same(served: Provider, spool: Path, clock: Clock) -> None:
    said = no_token(keeper(served.client(spool, refresh_token=None), clock), OperatorMustAct)
    assert said == "there is no refresh token yet: run 'pop3connector accounts login sales'"
    assert not served.forms


def test_a_source_that_cannot_be_read_is_named(served: Provider, spool: Path, clock: Clock) -> None:
    client = served.client(spool, client_secret=PasswordFile(Path("/nowhere")))
    assert no_token(keeper(client, clock), OperatorMustAct) == "/nowhere: No such file or directory"


def test_trouble_that_passes_is_tried_later_with_the_same_refresh_token(
    served: Provider, spool: Path, clock: Clock
) -> None:
    served.replies.append(refusal("temporarily_unavailable", status=503))
    no_token(keeper(served.client(spool), clock), TryLater)
    assert keeper(served.client(spool), clock).access_token() == Secret("access-1")


def test_a_disk_that_takes_nothing_costs_no_refresh_token(served: Provider, spool: Path, clock: Clock) -> None:
    """The provider would replace it, and the new one could not be stored."""
    disk = FaultyDisk()
    keeper(served.client(spool), clock).access_token()
    clock.advance(timedelta(hours=1))
    disk.fail(1, error=errno.ENOSPC, lasting=True)
    assert "No space left on device" in no_token(keeper(served.client(spool), clock, disk=disk), TryLater)
    assert len(served.forms) == 1


# Of the second writing of the file, which is the one after the request.
STEPS = ("unlink", "create", "write", "sync", "rename", "sync")


def fail_after_the_request(disk: FaultyDisk, step: int) -> None:
    """Let a step of the writing that follows the request fail; the one before the request has as many."""
    disk.fail(len(STEPS) + step + 1)


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_no_token_is_given_out_that_is_not_on_disk(served: Provider, spool: Path, clock: Clock, step: int) -> None:
    client = served.client(spool)
    served.rotates = False
    keeper(client, clock).access_token()
    clock.advance(timedelta(hours=1))
    disk = FaultyDisk()
    fail_after_the_request(disk, step)
    no_token(keeper(client, clock, disk=disk), TryLater)
    assert [name.split()[0] for name in disk.steps][: len(STEPS) + step + 1] == [*STEPS, *STEPS[: step + 1]]
    assert len(served.forms) == 2
    assert stored(client)["refresh_token"] == "refresh-0"
    assert keeper(client, clock).access_token() == Secret("access-3" if step < len(STEPS) - 1 else "access-2")


def test_what_a_crash_between_the_answer_and_the_disk_costs(served: Provider, spool: Path, clock: Clock) -> None:
    """The old refresh token is there, whole; a provider that has revoked it at once wants a new login."""
    client = served.client(spool)
    keeper(client, clock).access_token()
    clock.advance(timedelta(hours=1))
    disk = FaultyDisk()
    fail_after_the_request(disk, STEPS.index("rename"))
    no_token(keeper(client, clock, disk=disk), TryLater)
    assert stored(client)["refresh_token"] == "refresh-1"
    assert "accounts login sales" in no_token(keeper(client, clock), OperatorMustAct)


def test_of_two_at_once_one_renews_and_the_other_uses_it(served: Provider, spool: Path, clock: Clock) -> None:
    """A refresh token that is sent twice is revoked by some providers (RFC 9700 section 4.14.2)."""
    client = served.client(spool)
    keeper(client, clock).access_token()
    clock.advance(timedelta(hours=1))
    with ThreadPoolExecutor(4) as pool:
        tokens = [*pool.map(lambda _: keeper(client, clock).access_token(), range(4))]
    assert set(tokens) == {Secret("access-2")}
    assert len(served.forms) == 2


def test_no_word_of_the_provider_repeats_a_secret(served: Provider, spool: Path, clock: Clock) -> None:
    served.replies.append(refusal("invalid_client", "unknown client-secret for refresh-0"))
    said = no_token(keeper(served.client(spool), clock), OperatorMustAct)
    assert "client-secret" not in said
    assert "not shown" in said


def test_a_reply_without_a_token_is_no_grant(served: Provider, spool: Path, clock: Clock) -> None:
    served.replies.append(Reply(body=b'{"token_type":"Bearer"}'))
    assert "HTTP 200 and nothing of OAuth" in no_token(keeper(served.client(spool), clock), TryLater)
