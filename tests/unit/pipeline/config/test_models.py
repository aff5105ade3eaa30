"""The defaults of the contract, and the page that documents every key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from pipeline.config import parse
from pipeline.config.models import PASSWORD_KEYS, SECRETS, OAuth2Table, keys_of_secret
from tests.docs.keys import SECRET_KEYS, keys, tables

PAGE = (Path(__file__).parents[4] / "docs/reference/configuration.md").read_text()

CONTRACT = """
[spool]
directory = "/var/lib/pop3connector"
min_free_space = "256MB"
history = "30d"

[smtp]
host = "127.0.0.1"
port = 25
protocol = "smtp"
tls = "none"
timeout = "5m"
final_dot_timeout = "10m"
connections = 4
max_protocol_errors = 4

[fetch]
interval = "15m"
max_messages_per_session = 500
max_message_size = "auto"
oversize = "leave"
timeout = "60s"
session_timeout = "10m"
concurrency = 32
per_host = 4

[validate]
invalid_return_path = "badmail"
max_hops = 50

[submit]
retry_initial = "1m"
retry_max = "1h"
queue_lifetime = "5d"

[pickup]
settle = "1s"
owners = []
accept_domains = []
"""

ACCOUNT = """
[[accounts]]
name = "sales-isp"
host = "pop.isp.example"
username = "sales"
password = "..."
deliver_to = ["sales@corp.example"]
"""

ACCOUNT_DEFAULTS = """
port = 995
tls = "implicit"
auth = "auto"
interval = "15m"
leave_on_server = false
enabled = true
"""


def test_the_defaults_are_those_of_the_contract() -> None:
    """Written out in full: a changed default changes what happens to the mail of everyone who left it out."""
    file = Path("/pop3connector.toml")
    assert parse(ACCOUNT.encode(), file) == parse((CONTRACT + ACCOUNT + ACCOUNT_DEFAULTS).encode(), file)


def rows(heading: str) -> dict[str, str]:
    """Key to default, from the table of the page below a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE))


@pytest.mark.parametrize("heading", tables())
def test_the_page_has_every_key_and_no_other(heading: str) -> None:
    assert rows(f"`{heading}`").keys() == tables()[heading].model_fields.keys() - SECRET_KEYS


@pytest.mark.parametrize("heading", tables())
def test_every_key_has_its_meaning(heading: str) -> None:
    assert [key.name for key in keys(tables()[heading]) if not key.meaning and " " not in key.default] == []


def test_the_page_has_every_source_of_a_password() -> None:
    assert tuple(rows("Passwords")) == PASSWORD_KEYS


def test_the_page_has_every_source_of_the_secrets_of_oauth2() -> None:
    assert [key for key in OAuth2Table.model_fields if key in SECRET_KEYS] == [
        key for name in SECRETS for key in keys_of_secret(name) if f"`{key}`" in PAGE
    ]


@pytest.mark.parametrize(
    ("heading", "key"),
    [(heading, key) for heading, model in tables().items() for key in model.model_fields if key not in SECRET_KEYS],
)
def test_the_page_gives_the_default_of_every_key(heading: str, key: str) -> None:
    field = tables()[heading].model_fields[key]
    stated = rows(f"`{heading}`")[key]
    if field.is_required():
        assert stated == "required"
    elif key in ("port", "interval") and heading == "[[accounts]]":
        assert stated in ("995 with implicit TLS, else 110", "that of `[fetch]`")
    elif field.default is None and key != "max_message_size":
        assert stated.startswith(("not set", '`"none"` for', "the domain of", "`logs/events.jsonl`"))
    else:
        written = tomllib.loads(f"value = {stated.strip('`')}")["value"]
        changed = tables()[heading].model_validate(
            {key: written} if heading != "[[accounts]]" else tomllib.loads(ACCOUNT)["accounts"][0] | {key: written}
        )
        assert getattr(changed, key) == field.default


def test_the_examples_of_the_page_are_valid() -> None:
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    names = [parse(example.encode(), Path("/pop3connector.toml")).accounts[0].name for example in examples]
    assert names == ["sales-isp", "sales-m365"]
