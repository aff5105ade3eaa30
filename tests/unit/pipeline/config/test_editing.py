"""Editing the text: what is changed, and that nothing else is."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.editing import CannotEdit, Value, with_account, with_changes, without_account

NEW: dict[str, Value] = {"name": "new", "port": 110, "enabled": False, "deliver_to": ["a@b.example", "c@d.example"]}
FILE = """\
# The mailboxes that are left.
[[accounts]]
name = "sales"   # until 2027
host = 'pop.isp.example'
# interval = "5m"

# our own server
[smtp]
port = 25

# Info: ask Bob
[[accounts]]
"name" = "info"
host = "pop.other.example"

  [accounts.oauth2]  # tokens
  token_command = \"\"\"
[[accounts]]
name = "no account"
\"\"\"

[fetch]
interval = "5m"
"""


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that went and those that came, where all others are the same in the same order."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    while old and new and old[0] == new[0]:
        old, new = old[1:], new[1:]
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return old, new


def names(text: str) -> list[object]:
    return [account["name"] for account in tomllib.loads(text).get("accounts", [])]


def test_a_value_is_changed_in_its_line_and_its_comment_stays() -> None:
    after = with_changes(FILE, "sales", changes={"host": "pop.new.example"})
    assert changed(FILE, after) == (["host = 'pop.isp.example'\n"], ['host = "pop.new.example"\n'])
    after = with_changes(FILE.replace("'pop.isp.example'", "'pop.isp.example' # old"), "sales", changes={"host": "x"})
    assert 'host = "x" # old\n' in after


def test_a_new_key_stands_behind_the_others_and_before_tables_of_the_account() -> None:
    assert changed(FILE, with_changes(FILE, "sales", changes={"port": 995})) == ([], ["port = 995\n"])
    after = with_changes(FILE, "info", changes={"port": 995})
    assert changed(FILE, after) == ([], ["port = 995\n"])
    assert after.index("port = 995") < after.index("[accounts.oauth2]")


def test_a_key_is_taken_away_with_its_line() -> None:
    assert changed(FILE, with_changes(FILE, "info", changes={"host": None})) == (['host = "pop.other.example"\n'], [])


def test_a_key_that_is_not_there_is_taken_away_without_a_trace() -> None:
    assert with_changes(FILE, "info", changes={"port": None}) == FILE


def test_a_new_account_stands_behind_the_last_one() -> None:
    after = with_account(FILE, NEW)
    assert changed(FILE, after) == (
        [],
        [
            "[[accounts]]\n",
            'name = "new"\n',
            "port = 110\n",
            "enabled = false\n",
            'deliver_to = ["a@b.example", "c@d.example"]\n',
            "\n",
        ],
    )
    assert names(after) == ["sales", "info", "new"]
    assert after.endswith('\n\n[fetch]\ninterval = "5m"\n')


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[[accounts]]\nname = "new"\n'),
        ("[smtp]\nport = 25", '[smtp]\nport = 25\n\n[[accounts]]\nname = "new"\n'),
        ("[smtp]\n\n", '[smtp]\n\n[[accounts]]\nname = "new"\n'),
        ("[smtp]\r\nport = 25\r\n", '[smtp]\r\nport = 25\r\n\r\n[[accounts]]\r\nname = "new"\r\n'),
        ('[[accounts]]\nname = "a"', '[[accounts]]\nname = "a"\n\n[[accounts]]\nname = "new"\n'),
        ("accounts = []\n", 'accounts = [{name = "new"}]\n'),
    ],
    ids=["nothing", "no final newline", "a blank line is there", "CRLF", "behind another", "an empty array"],
)
def test_an_account_is_added_to_any_file(before: str, after: str) -> None:
    assert with_account(before, {"name": "new"}) == after


def test_a_removed_account_takes_its_comment_and_its_tables_with_it() -> None:
    after = without_account(FILE, "info")
    gone, came = changed(FILE, after)
    assert (gone[0], gone[-1], came) == ("# Info: ask Bob\n", "\n", [])
    assert after.endswith('[smtp]\nport = 25\n\n[fetch]\ninterval = "5m"\n')


def test_the_comment_at_the_top_of_the_file_stays_and_so_does_that_of_the_next_table() -> None:
    after = without_account(FILE, "sales")
    assert after.startswith("# The mailboxes that are left.\n\n# our own server\n[smtp]\n")


def test_a_comment_directly_above_the_next_account_is_not_that_of_the_one_before() -> None:
    text = '[[accounts]]\nname = "a"\n# about b\n[[accounts]]\nname = "b"\n'
    assert without_account(text, "a") == '# about b\n[[accounts]]\nname = "b"\n'
    assert without_account(text, "b") == '[[accounts]]\nname = "a"\n'


def test_the_last_account_leaves_no_blank_lines_behind() -> None:
    assert without_account('[smtp]\nport = 25\n\n[[accounts]]\nname = "a"\n\n', "a") == "[smtp]\nport = 25\n"


def test_the_only_account_leaves_a_file_without_accounts() -> None:
    assert tomllib.loads(without_account('[[accounts]]\nname = "a"\n[smtp]\nport = 25\n', "a")) == {
        "smtp": {"port": 25}
    }


def test_line_ends_stay_as_they_are() -> None:
    crlf = FILE.replace("\n", "\r\n")
    for after in (
        with_changes(crlf, "sales", changes={"port": 1, "host": "x"}),
        with_account(crlf, NEW),
        without_account(crlf, "sales"),
    ):
        assert after.count("\n") == after.count("\r\n")
    mixed = FILE.replace("[smtp]\n", "[smtp]\r\n")
    assert "[smtp]\r\n" in with_changes(mixed, "sales", changes={"port": 1})


def test_a_file_without_a_final_newline_gets_none() -> None:
    text = '[[accounts]]\nname = "a"\nhost = "h"'
    assert with_changes(text, "a", changes={"host": "x"}) == '[[accounts]]\nname = "a"\nhost = "x"'
    assert with_changes(text, "a", changes={"port": 1}) == f"{text}\nport = 1"


def test_keys_that_are_indented_get_company_that_is_indented() -> None:
    text = '[[accounts]]\n    name = "a"\n    host = "h"\n'
    assert with_changes(text, "a", changes={"port": 1}) == text + "    port = 1\n"


def test_dotted_keys_stay() -> None:
    text = '[[accounts]]\nname = "a"\noauth2.token_command = "x" # tokens\nhost = "h"\n'
    after = with_changes(text, "a", changes={"host": "i", "port": 1})
    assert after == text.replace('"h"', '"i"') + "port = 1\n"


ARRAY = """\
# one line each
accounts = [
    { name = "sales", host = "h" }, # the first
    { name = "info", host = 'i', oauth2 = { token_command = "x" } },
]
[smtp]
port = 25
"""


def test_accounts_in_an_array_of_inline_tables_are_changed_where_they_stand() -> None:
    assert changed(ARRAY, with_changes(ARRAY, "info", changes={"host": "j"})) == (
        ['    { name = "info", host = \'i\', oauth2 = { token_command = "x" } },\n'],
        ['    { name = "info", host = "j", oauth2 = { token_command = "x" } },\n'],
    )
    assert names(with_account(ARRAY, NEW)) == ["sales", "info", "new"]
    after = without_account(ARRAY, "sales")
    assert (names(after), after.startswith("# one line each\naccounts = [\n")) == (["info"], True)
    for text in (with_account(ARRAY, NEW), after):
        assert text.endswith("]\n[smtp]\nport = 25\n")


@pytest.mark.parametrize("header", ["[[accounts]]", "[[ accounts ]] # x", '[["accounts"]]', "[['accounts']]"])
def test_a_header_may_be_written_in_any_way(header: str) -> None:
    text = f'{header}\nname = "a"\n\n[smtp]\n'
    assert with_changes(text, "a", changes={"port": 1}) == f'{header}\nname = "a"\nport = 1\n\n[smtp]\n'


def test_a_table_of_an_account_may_stand_behind_foreign_tables() -> None:
    """TOML allows it; such an account can be changed, and taking it away whole is left to a person."""
    text = '[[accounts]]\nname = "a"\n[smtp]\nport = 25\n[accounts.oauth2]\ntoken_command = "x"\n'
    assert 'name = "a"\nport = 1\n[smtp]' in with_changes(text, "a", changes={"port": 1})
    with pytest.raises(CannotEdit):
        without_account(text, "a")


@pytest.mark.parametrize("text", ["", "accounts = 5\n", 'accounts = ["a"]\n', '[[accounts]]\nname = "b"\n'])
def test_an_account_that_is_not_there_cannot_be_edited(text: str) -> None:
    with pytest.raises(CannotEdit):
        with_changes(text, "a", changes={"port": 1})
    with pytest.raises(CannotEdit):
        without_account(text, "a")


@pytest.mark.parametrize(
    "value",
    [
        '"""[[accounts]]\n"""',
        "'''\n[[accounts]]\n'''",
        '"a # b"',
        '"""a\\"""b""""',
        "''''a'''''",
        '"\\"["',
        "[\n# ]\n1]",
    ],
)
def test_brackets_quotes_and_hashes_inside_a_value_begin_nothing(value: str) -> None:
    text = f'[odd]\nkey = {value}\n\n[[accounts]]\nname = "a"\n'
    assert with_changes(text, "a", changes={"port": 1}) == text + "port = 1\n"
    assert without_account(text, "a") == f"[odd]\nkey = {value}\n"


@given(
    name=st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])),
    value=st.text(alphabet=st.characters(exclude_categories=["Cs"])),
)
def test_whatever_is_typed_is_read_back_and_taken_away_again(name: str, value: str) -> None:
    added = with_account(FILE, {"name": name, "host": value}) if name not in ("sales", "info") else FILE
    if added != FILE:
        assert tomllib.loads(added)["accounts"][-1] == {"name": name, "host": value}
        assert without_account(added, name) == FILE
    edited = with_changes(FILE, "sales", changes={"username": value})
    assert tomllib.loads(edited)["accounts"][0]["username"] == value
