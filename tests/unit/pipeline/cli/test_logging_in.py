"""`accounts login`, with a provider on loopback whose person is quick."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.connector import Connector, account, configure
from tests.support.processes import running
from tests.support.provider import Provider, provider, refusal
from tests.support.shell import Shell


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Provider]:
    with provider(tmp_path) as found:
        found.interval = 1
        yield found


@pytest.fixture
def connector(served: Provider, tmp_path: Path) -> Connector:
    oauth2 = {
        "client_id": "us",
        "token_endpoint": f"{served.url}/token",
        "device_endpoint": f"{served.url}/device",
        "ca_file": str(served.ca_file),
    }
    tokens = {**account("m365", 110), "oauth2": oauth2}
    del tokens["password"]
    return configure(tmp_path, smtp_port=25, accounts=[tokens, account("isp", 110)])


@pytest.fixture
def shell(connector: Connector, capsysbinary: pytest.CaptureFixture[bytes]) -> Shell:
    return Shell(connector.directory, capsysbinary)


def test_a_login_says_where_to_enter_what_and_where_the_token_is(shell: Shell, connector: Connector) -> None:
    """The spool need not be there yet: a login comes before the first run."""
    file = connector.spool / "tokens/m365.json"
    assert shell.lines("accounts", "login", "m365") == [
        "open https://login.example/device on any device and enter WDJB-MJHT (within 15 minutes)",
        "waiting ...",
        f"account m365: logged in; the refresh token is in {file}",
    ]
    assert b"refresh-1" in file.read_bytes()


def test_a_login_that_is_refused_is_77_and_one_line(shell: Shell, served: Provider) -> None:
    served.replies.extend([served._device_code(), refusal("access_denied", "no")])
    assert shell.failure("accounts", "login", "m365") == (
        77,
        "pop3connector: account m365: the login was refused (the provider says access_denied: no)\n",
    )


def test_a_client_that_is_not_known_is_78(shell: Shell, served: Provider) -> None:
    served.replies.append(refusal("invalid_client"))
    code, said = shell.failure("accounts", "login", "m365")
    assert (code, said.count("\n")) == (78, 1)


def test_an_account_that_is_not_there_is_wrong_usage(shell: Shell) -> None:
    assert shell.failure("accounts", "login", "m356") == (
        64,
        "pop3connector: there is no account 'm356': 'm365' perhaps?\n",
    )


def test_an_account_with_a_password_has_nothing_to_log_in_to(shell: Shell) -> None:
    code, said = shell.failure("accounts", "login", "isp")
    assert (code, "without oauth2" in said) == (78, True)


def test_ctrl_c_ends_the_waiting_quietly(connector: Connector, served: Provider) -> None:
    served.interval = 60
    with running(connector.command("accounts", "login", "m365")) as process:
        process.wait_for("waiting ...")
        process.send(signal.SIGINT)
        assert process.ended() == 130
        assert process.output.splitlines()[1:] == ["waiting ..."]
