"""What is said of a changed configuration: names, never values."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import parse
from pipeline.config.changes import LONGEST_TEXT, changes
from stages.settings import Settings

ACCOUNT = """
[[accounts]]
name = "{name}"
host = "pop.isp.example"
username = "{name}"
password = "{password}"
deliver_to = "sales@corp.example"
{more}
"""


def account(name: str, *, password: str = "secret", more: str = "") -> str:
    return ACCOUNT.format(name=name, password=password, more=more)


def settings(*parts: str) -> Settings:
    return parse("".join(parts).encode(), Path("/etc/pop3connector.toml"))


def test_nothing_is_said_where_only_comments_or_spellings_differ() -> None:
    before = settings('[fetch]\ntimeout = "60s"\n', account("sales"))
    assert changes(before, settings('# mended\n[fetch]\ntimeout = "1m"\n', account("sales"))) == ""


def test_accounts_that_came_went_and_changed_are_named() -> None:
    before = settings(account("sales"), account("info"), account("old"))
    after = settings(account("sales", password="other"), account("new"), account("info", more="enabled = false"))
    assert changes(before, after) == (
        "accounts added: new; accounts removed: old; accounts changed (password): sales; accounts disabled: info"
    )


def test_keys_are_named_as_the_file_has_them() -> None:
    after = settings(
        '[spool]\nmin_free_space = "1GB"\n[smtp]\nhost = "mx.corp.example"\ntls_fingerprint = "sha256:'
        + "ab" * 32
        + '"\n'
        '[fetch]\nmax_message_size = "5MB"\n'
        '[validate]\ninvalid_return_path = "null"\n'
        '[submit]\nbare_newlines = "badmail"\n'
    )
    assert changes(settings(), after) == (
        "[spool] min_free_space; [smtp] host, tls, tls_fingerprint; [fetch] max_message_size;"
        " [validate] invalid_return_path; [submit] bare_newlines"
    )


def test_what_only_a_start_reads_is_said_to_wait_for_the_next_start() -> None:
    assert changes(settings(), settings('[log]\nmirror = "syslog"\n')).endswith(" (from the next start on)")


def test_a_default_of_all_accounts_is_one_change() -> None:
    accounts = [account(f"a{number}") for number in range(2000)]
    after = settings('[fetch]\ninterval = "5m"\n', *accounts)
    assert changes(settings(*accounts), after) == "accounts changed (interval): a0, a1, a2, a3, a4 and 1995 more"


@pytest.mark.parametrize("key", ["password", "host", "username"])
def test_no_value_is_said(key: str) -> None:
    before = settings(account("sales"))
    text = account("sales").replace(f'{key} = "', f'{key} = "tops3cret.')
    assert "tops3cret" not in changes(before, settings(text))


def test_however_much_was_changed_it_is_one_short_line() -> None:
    keys = ["interval", "leave_on_server", "tls", "enabled", "auth", "port", "tls_min_version", "ca_file"]
    values = ['"1h"', "true", '"none"', "false", '"plain"', "1100", '"1.3"', '"/etc/hosts"']

    def varied(number: int) -> str:
        chosen = [
            f"{key} = {value}" for bit, (key, value) in enumerate(zip(keys, values, strict=True)) if number >> bit & 1
        ]
        return account(f"account-number-{number}", more="\n".join(chosen))

    before = settings(*(account(f"account-number-{number}") for number in range(256)))
    text = changes(before, settings(*map(varied, range(256))))
    assert len(text) <= LONGEST_TEXT
    assert text.isprintable()
