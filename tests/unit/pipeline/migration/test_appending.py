"""Accounts are appended, and no octet of what is there is changed."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.migration.appending import CannotAppend, with_accounts

ACCOUNT: dict[str, object] = {"name": "sales", "host": "pop.isp.example", "oauth2": {"token_command": "x"}}
BEFORE = [
    "",
    "# a comment alone",
    '[fetch] # mine\ninterval = "5m"',
    '# top\n[[accounts]]\nname = "a" # first\n[accounts.oauth2]\nclient_id = "x"\n\n[fetch]\nper_host = 2\n\n',
]


@pytest.mark.parametrize("text", BEFORE)
def test_what_is_there_stays_and_the_accounts_stand_behind_it(text: str) -> None:
    appended = with_accounts(text, [ACCOUNT, {"name": "info"}], relay=None)
    assert appended.startswith(text)
    accounts = tomllib.loads(appended)["accounts"]
    assert [one["name"] for one in accounts][-2:] == ["sales", "info"]


def test_the_relay_comes_with_them() -> None:
    assert tomllib.loads(with_accounts("# mine\n", [ACCOUNT], relay={"host": "mx"}))["smtp"] == {"host": "mx"}


def test_nothing_is_nothing() -> None:
    assert with_accounts("[fetch]", [], relay={"host": "mx"}) == "[fetch]"


def test_line_ends_stay_what_they_are() -> None:
    appended = with_accounts('[fetch]\r\ninterval = "5m"\r\n', [ACCOUNT], relay=None)
    assert appended.count("\n") == appended.count("\r\n")


@pytest.mark.parametrize("text", ['accounts = [{name = "a"}]', "accounts = 3", "no toml", "[accounts]"])
def test_what_takes_no_more_accounts_is_refused(text: str) -> None:
    with pytest.raises(CannotAppend):
        with_accounts(text, [ACCOUNT], relay=None)


def test_a_second_relay_is_refused() -> None:
    with pytest.raises(CannotAppend):
        with_accounts('[smtp]\nhost = "a"\n', [ACCOUNT], relay={"host": "mx"})


@given(
    st.dictionaries(
        st.sampled_from(["name", "password", "username"]), st.text(alphabet=st.characters(exclude_categories=["Cs"]))
    )
)
def test_any_text_comes_back(table: dict[str, object]) -> None:
    """A password may have any character."""
    assert tomllib.loads(with_accounts("", [table], relay=None))["accounts"] == [table]
