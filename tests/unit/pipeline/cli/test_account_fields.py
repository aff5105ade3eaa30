"""What people type for an account, as values of the file, and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.account_fields import QUESTIONS, as_typed, in_order, secret_of, usual_port, value_of, values_of
from pipeline.cli.account_keys import KEYS
from pipeline.config.editing import Value
from pipeline.config.models import AccountTable
from stages.passwords import PasswordCommand, PasswordCredential, PasswordFile, PasswordSource, PasswordVariable
from stages.secret import Secret
from tests.support.settings import account


@pytest.mark.parametrize(
    ("key", "typed", "value"),
    [
        ("host", "pop.isp.example", "pop.isp.example"),
        ("port", "995", 995),
        ("port", "many", "many"),
        ("port", "९", "९"),
        ("leave_on_server", "true", True),
        ("leave_on_server", "false", False),
        ("leave_on_server", "14d", "14d"),
        ("deliver_to", "a@b.example", "a@b.example"),
        ("deliver_to", "a@b.example, c@d.example", ["a@b.example", "c@d.example"]),
        ("deliver_to", ["a@b.example", "c@d.example"], ["a@b.example", "c@d.example"]),
        ("deliver_to", " , ", None),
        ("interval", "", None),
    ],
)
def test_what_is_typed_becomes_the_value_that_the_file_has(
    key: str, typed: str | list[str], value: Value | None
) -> None:
    """What cannot be read stays as it is: the check of the file has the words for it."""
    assert value_of(key, typed) == value
    assert isinstance(value_of(key, typed), bool) == isinstance(value, bool)


def test_a_file_is_meant_from_where_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert value_of("password_file", "pw") == str(tmp_path / "pw")
    assert value_of("ca_file", "/etc/ca.pem") == "/etc/ca.pem"


def test_what_was_not_typed_is_no_change_and_what_is_empty_is_one() -> None:
    assert values_of({"host": None, "interval": "", "port": "1"}) == {"interval": None, "port": 1}


@pytest.mark.parametrize("value", ["a", 995, True, ["a@b.example", "c@d.example"]])
def test_a_value_is_shown_as_it_would_be_typed(value: Value) -> None:
    keys = {str: "host", int: "port", bool: "leave_on_server", list: "deliver_to"}
    assert value_of(keys[type(value)], as_typed(value)) == value


def test_every_option_and_every_question_is_a_key_of_an_account() -> None:
    assert set(KEYS) <= set(AccountTable.model_fields)
    assert {question.key for question in QUESTIONS} <= set(KEYS)


def test_a_new_account_is_written_in_the_order_of_the_dialogue() -> None:
    assert list(in_order({"deliver_to": "d", "host": "h", "name": "n"})) == ["name", "host", "deliver_to"]


def test_the_usual_port_is_that_of_the_protection() -> None:
    assert [usual_port(tls) for tls in ("implicit", "starttls", "none")] == ["995", "110", "110"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (Secret("s3cret"), "password: in the configuration"),
        (PasswordFile(Path("/pw")), "password_file: /pw"),
        (PasswordVariable("PW"), "password_env: PW"),
        (PasswordCommand("echo s3cret"), "password_command"),
        (PasswordCredential("pw"), "password_credential: pw"),
    ],
)
def test_the_source_of_a_password_is_told_and_never_the_password(source: PasswordSource, told: str) -> None:
    assert secret_of(replace(account(), password=source)) == told
