"""Finding and reading the file, and the problems of a whole file at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.config import ConfigurationError, find, load, parse
from pipeline.config.loading import place_for
from stages.passwords import PasswordCommand, PasswordCredential, PasswordFile, PasswordVariable
from stages.settings import Ambiguous, Grant, Mirror, OAuth2Client, Settings, TlsMode, TokenCommand
from stages.trust import TlsVersion, Trust

FILE = Path("/etc/pop3connector/pop3connector.toml")

ACCOUNT = """
[[accounts]]
name = "{name}"
host = "pop.isp.example"
username = "{name}"
password_env = "PW"
deliver_to = "{name}@corp.example"
"""


def settings(text: str) -> Settings:
    return parse(text.encode(), FILE)


def problems(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as error:
        parse(text.encode() if isinstance(text, str) else text, FILE)
    return error.value.problems


def write(path: Path, text: str, *, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_file_that_is_named_comes_before_all_others(tmp_path: Path) -> None:
    named = tmp_path / "a.toml"
    assert find(named, {"POP3CONNECTOR_CONFIG": "/b.toml"}) == named


def test_the_environment_comes_before_the_usual_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "pop3connector.toml", "")
    assert find(None, {"POP3CONNECTOR_CONFIG": "/b.toml"}) == Path("/b.toml")


def test_the_file_that_counts_is_the_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_for(tmp_path / "x.toml", {}) == tmp_path / "x.toml"
    assert place_for(None, {"POP3CONNECTOR_CONFIG": "/y.toml"}) == Path("/y.toml")
    (tmp_path / "pop3connector.toml").write_text("")
    assert place_for(None, {}) == tmp_path / "pop3connector.toml"


def test_where_there_is_none_it_is_made_where_it_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert place_for(None, {"XDG_CONFIG_HOME": str(tmp_path)}) == Path("/etc/pop3connector/pop3connector.toml")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert place_for(None, {"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "pop3connector" / "pop3connector.toml"
    assert place_for(None, {"HOME": str(tmp_path)}) == tmp_path / ".config/pop3connector/pop3connector.toml"


def test_the_working_directory_comes_before_the_users_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = write(tmp_path / "pop3connector.toml", "")
    write(tmp_path / "xdg/pop3connector/pop3connector.toml", "")
    assert find(None, {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}) == here


@pytest.mark.parametrize(("variable", "folder"), [("XDG_CONFIG_HOME", ""), ("HOME", ".config")])
def test_the_users_configuration_is_where_xdg_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    theirs = write(tmp_path / "user" / folder / "pop3connector/pop3connector.toml", "")
    assert find(None, {variable: str(tmp_path / "user")}) == theirs


def test_without_a_file_the_places_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"no configuration file; looked at .*pop3connector\.toml"):
        find(None, {"XDG_CONFIG_HOME": str(tmp_path)})


def test_a_broken_link_is_not_passed_over_for_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mail that goes by a forgotten configuration is worse than mail that waits."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pop3connector.toml").symlink_to(tmp_path / "gone.toml")
    write(tmp_path / "xdg/pop3connector/pop3connector.toml", "")
    with pytest.raises(ConfigurationError, match="No such file"):
        load(None, {"XDG_CONFIG_HOME": str(tmp_path / "xdg")})


def test_a_file_that_is_missing_or_no_file_is_one_line(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "gone.toml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigurationError) as error:
            load(path, {})
        assert error.value.problems == (f"{path}: {why}",)


def test_a_configuration_error_ends_with_the_exit_code_for_it() -> None:
    assert ConfigurationError(()).exit_code == 78


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o440])
def test_a_file_with_a_password_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    text = ACCOUNT.format(name="sales").replace("password_env", "password")
    file = write(tmp_path / "pop3connector.toml", text, mode=mode)
    with pytest.raises(ConfigurationError) as error:
        load(file, {})
    assert error.value.problems == (f"{file} holds a password and is readable by group or others: chmod 600 {file}",)


def test_a_file_with_a_password_of_its_owners_is_read(tmp_path: Path) -> None:
    text = ACCOUNT.format(name="sales").replace("password_env", "password")
    assert load(write(tmp_path / "pop3connector.toml", text), {}).accounts[0].name == "sales"


def test_the_password_of_the_relay_counts_too(tmp_path: Path) -> None:
    file = write(tmp_path / "c.toml", '[smtp]\nusername = "u"\npassword = "p"\n', mode=0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load(file, {})


def test_a_file_without_a_password_may_be_read_by_all(tmp_path: Path) -> None:
    assert load(write(tmp_path / "pop3connector.toml", ACCOUNT.format(name="sales"), mode=0o644), {}).accounts


def test_a_syntax_error_is_one_line_with_its_place() -> None:
    (problem,) = problems('[smtp]\nhost = "x\n')
    assert problem.startswith(f"{FILE}: not TOML: ")
    assert "line 2" in problem


def test_octets_that_are_not_utf_8_are_reported_with_their_line() -> None:
    assert problems(b"# \xc3\xa4\n# \xe4\n") == (f"{FILE}: not UTF-8 (at line 2)",)


@pytest.mark.parametrize("content", [b"x = " + b"[" * 100_000, b"x = " + b"9" * 10_000])
def test_what_overwhelms_the_parser_is_a_syntax_error(content: bytes) -> None:
    (problem,) = problems(content)
    assert "not TOML" in problem


def test_an_empty_file_is_all_defaults() -> None:
    found = settings("")
    assert found.smtp.host == "127.0.0.1"
    assert found.accounts == ()


def test_every_problem_is_reported_at_once_by_its_path() -> None:
    """Wrong types, wrong keys, wrong values and rules across keys: an operator mends the file once."""
    text = f"""
        [smtp]
        port = 0
        timeout = "0s"
        [fetch]
        intervall = "15m"
        concurrency = 0
        [submit]
        retry_initial = "2h"
        {ACCOUNT.format(name="a")}
        {ACCOUNT.format(name="a")}
        port = "995"
        password = "p"
    """
    assert sorted(problems(text)) == sorted(
        (
            "smtp.port: must be at least 1, not 0",
            "smtp.timeout: must be longer than zero",
            "fetch.intervall: unknown key; did you mean interval?",
            "fetch.concurrency: must be at least 1, not 0",
            "submit: retry_max is shorter than retry_initial",
            'accounts[1].port: must be an integer, not "995" (account "a")',
            "accounts[1].password: exactly one of password, password_file, password_env, password_command, "
            'password_credential or oauth2 is needed; these are given: password, password_env (account "a")',
            'accounts[1].name: is the name of accounts[0] too (account "a")',
            'accounts[1].username: is the mailbox of accounts[0] too: same host and user (account "a")',
        )
    )


OF_THE_RELAY = "[smtp.oauth2]\ntoken_endpoint = 'https://login.example/token'\nclient_id = 'us'\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("smpt = 1", "smpt: unknown key; did you mean smtp?"),
        ("frobnicate = 1", "frobnicate: unknown key"),
        ("[validate]\nmax_hop = 1", "validate.max_hop: unknown key; did you mean max_hops?"),
        ("smtp = 1", "smtp: must be a table: [smtp]"),
        ("[accounts]\nname = 'x'", "accounts: must be an array of tables, each with [[accounts]] above it"),
        ("accounts = [1]", "accounts[0]: must be an array of tables, each with [[accounts]] above it"),
        ('"a\\nb\\u001b" = 1', '"a\\nb\\u001b": unknown key'),
        ("[smtp]\nport = true", "smtp.port: must be an integer, not true"),
        ("[smtp]\nport = 70000", "smtp.port: must be at most 65535, not 70000"),
        ("[smtp]\nprotocol = 'uucp'", 'smtp.protocol: "uucp" is not one of smtp or lmtp'),
        (
            "[smtp]\nprotocol = 'lmtp'",
            "smtp.port: is not 25 with lmtp: give the server's own, often 24",
        ),
        ("[smtp]\nhost = '/run/lmtp'\ntls = 'starttls'", "smtp.tls: a UNIX socket has no TLS: leave it out"),
        ("[smtp]\nhost = '/run/lmtp'\nport = 24", "smtp.port: a UNIX socket has no port: leave it out"),
        ("[smtp]\npassword = 'p'", "smtp.password: is given without username"),
        ("[smtp]\nauth = 'plain'", "smtp.auth: is given without username"),
        (
            "[smtp]\nauth = 'apop'\nusername = 'u'\npassword_env = 'P'",
            'smtp.auth: "apop" is not one of auto, ntlm, plain, login, cram-md5, scram-sha-1, scram-sha-256, '
            "xoauth2 or oauthbearer",
        ),
        ("[smtp.oauth2]\ntoken_command = 'x'", "smtp.oauth2: is given without username"),
        ("[smtp]\noauth2 = 'x'\nusername = 'u'", "smtp.oauth2: must be a table: [smtp.oauth2]"),
        (
            "[smtp]\nauth = 'xoauth2'\nusername = 'u'\npassword_env = 'P'",
            'smtp.auth: "xoauth2" needs [smtp.oauth2]',
        ),
        (
            "[smtp]\nauth = 'plain'\nusername = 'u'\noauth2 = { token_command = 'x' }",
            'smtp.auth: "plain" sends a password; use auto, xoauth2 or oauthbearer',
        ),
        (f"[smtp]\nusername = 'u'\n{OF_THE_RELAY}", "smtp.oauth2.refresh_token: is needed"),
        (
            f"[smtp]\nusername = 'u'\n{OF_THE_RELAY}device_endpoint = 'https://login.example/device'",
            "smtp.oauth2.device_endpoint: is for accounts; give a refresh_token",
        ),
        ("[fetch]\ninterval = '3m'", 'fetch.interval: "3m" is out of bounds; an interval is 5m to 24h'),
        ("[smtp]\nca_file = 'gone.pem'", "smtp.ca_file: there is no file /etc/pop3connector/gone.pem"),
        ("[smtp]\ntls_min_version = '1.1'", 'smtp.tls_min_version: "1.1" is not one of 1.2 or 1.3'),
    ],
)
def test_a_problem_says_what_to_write(text: str, problem: str) -> None:
    assert problems(text) == (problem,)


@pytest.mark.parametrize("key", ["name", "host", "username", "deliver_to"])
def test_an_account_lacks_nothing(key: str) -> None:
    lines = ACCOUNT.format(name="sales").splitlines()
    found = problems("\n".join(line for line in lines if not line.startswith(f"{key} ")))
    assert found[0].startswith(f"accounts[0].{key}: is required")


def test_the_relay_may_take_tokens(tmp_path: Path) -> None:
    """They are renewed as those of an account are, but nobody logs in to the relay on another device."""
    file = write(tmp_path / "refresh", "secret\n")
    smtp = settings(f"[smtp]\nusername = 'u'\n{OF_THE_RELAY}refresh_token_file = '{file}'").smtp
    assert smtp.password is None
    assert isinstance(smtp.oauth2, OAuth2Client)
    assert (smtp.oauth2.refresh_token, smtp.oauth2.spool) == (PasswordFile(file), Path("/var/lib/pop3connector"))


@pytest.mark.parametrize("auth", [None, "auto", "ntlm", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256"])
def test_the_relay_is_logged_in_to_as_it_is_written(auth: str | None) -> None:
    written = "" if auth is None else f"auth = '{auth}'"
    smtp = settings(f"[smtp]\nusername = 'u'\npassword_env = 'P'\n{written}").smtp
    assert (smtp.auth, smtp.username) == (auth or "auto", "u")


def test_a_login_that_does_not_exist_is_told_with_those_that_do() -> None:
    (problem,) = problems(ACCOUNT.format(name="sales") + 'auth = "digest-md5"')
    assert problem.startswith(
        'accounts[0].auth: "digest-md5" is not one of auto, basic, apop, spa, ntlm, plain, login, cram-md5, '
        "scram-sha-1, scram-sha-256, xoauth2 or oauthbearer"
    )


def test_no_problem_quotes_a_password() -> None:
    """Problems end in terminals, journals and tickets."""
    text = ACCOUNT.format(name="sales").replace('password_env = "PW"', "password = 31337\npasword = 'hunter2'")
    found = "\n".join(problems(text))
    assert "31337" not in found
    assert "hunter2" not in found


def test_settings_do_not_show_a_password() -> None:
    text = ACCOUNT.format(name="sales").replace('password_env = "PW"', "password = 'hunter2'")
    assert "hunter2" not in repr(settings(text))


def test_the_same_mailbox_twice_is_refused_whatever_port_and_case() -> None:
    """Two polls of one maildrop take each other's mail, and it would have two destinations."""
    second = ACCOUNT.format(name="b").replace("pop.isp", "POP.ISP").replace('username = "b"', 'username = "a"')
    (problem,) = problems(ACCOUNT.format(name="a") + second + "port = 110\ntls = 'none'")
    assert problem.startswith("accounts[1].username: is the mailbox of accounts[0] too")


def test_user_names_that_differ_in_case_are_two_mailboxes() -> None:
    second = ACCOUNT.format(name="b").replace('username = "b"', 'username = "A"')
    assert len(settings(ACCOUNT.format(name="a") + second).accounts) == 2


def test_a_password_file_must_be_there_and_private(tmp_path: Path) -> None:
    open_to_all = write(tmp_path / "pw", "secret\n", mode=0o644)
    text = "".join(
        ACCOUNT.format(name=name).replace('password_env = "PW"', f'password_file = "{file}"')
        for name, file in (("a", open_to_all), ("b", tmp_path / "gone"))
    )
    assert problems(text) == (
        f"accounts[0].password_file: {open_to_all} is readable by group or others: chmod 600 {open_to_all} "
        '(account "a")',
        f'accounts[1].password_file: there is no file {tmp_path / "gone"} (account "b")',
    )


def test_a_client_certificate_is_known_by_its_files(tmp_path: Path) -> None:
    certificate, key = write(tmp_path / "us.pem", "", mode=0o644), write(tmp_path / "us.key", "")
    tls = f"tls_certificate = '{certificate}'\ntls_key = '{key}'\ntls_min_version = '1.3'\n"
    found = settings(f"[smtp]\n{tls}" + ACCOUNT.format(name="a") + tls)
    for trust in (found.smtp.trust, found.accounts[0].trust):
        assert trust == Trust(certificate=certificate, key=key, min_version=TlsVersion.TLS_1_3)


def test_a_private_key_must_be_there_and_private(tmp_path: Path) -> None:
    """It is in the certificate's file where it has none of its own."""
    open_to_all = write(tmp_path / "us.pem", "", mode=0o644)
    text = f"[smtp]\ntls_certificate = '{open_to_all}'\n" + ACCOUNT.format(name="a") + "tls_key = 'us.key'"
    chmod = f"{open_to_all} is readable by group or others: chmod 600 {open_to_all}"
    assert sorted(problems(text)) == [
        'accounts[0].tls_key: is given without tls_certificate (account "a")',
        'accounts[0].tls_key: there is no file /etc/pop3connector/us.key (account "a")',
        f"smtp.tls_certificate: {chmod}",
    ]


OAUTH2 = """
[accounts.oauth2]
token_endpoint = "https://login.example/token"
device_endpoint = "https://login.example/device"
client_id = "us"
"""
TOKENS = ACCOUNT.replace('password_env = "PW"\n', "").format(name="sales") + OAUTH2


def oauth2_problems(text: str) -> list[str]:
    """The problems of an account that logs in with tokens, without what all of them have."""
    return [line.removeprefix("accounts[0].").removesuffix(' (account "sales")') for line in problems(text)]


def test_tokens_take_the_place_of_a_password() -> None:
    (account,) = settings(TOKENS + 'scope = ["pop", "offline_access"]').accounts
    assert account.password is None
    assert account.oauth2 == OAuth2Client(
        grant=Grant.REFRESH_TOKEN,
        token_endpoint="https://login.example/token",
        device_endpoint="https://login.example/device",
        client_id="us",
        client_secret=None,
        scope="pop offline_access",
        refresh_token=None,
        trust=Trust(),
        spool=Path("/var/lib/pop3connector"),
    )


def test_a_command_may_print_the_token() -> None:
    text = TOKENS.replace(OAUTH2, "[accounts.oauth2]\ntoken_command = 'get-token'")
    assert settings(text).accounts[0].oauth2 == TokenCommand(command=PasswordCommand("get-token"))


def test_the_secrets_of_a_client_have_the_sources_of_a_password(tmp_path: Path) -> None:
    file = write(tmp_path / "refresh", "secret\n")
    found = settings(f"{TOKENS}client_secret_env = 'CS'\nrefresh_token_file = '{file}'").accounts[0].oauth2
    assert isinstance(found, OAuth2Client)
    assert (found.client_secret, found.refresh_token) == (PasswordVariable("CS"), PasswordFile(file))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("grant = 'password'", 'oauth2.grant: "password" is not one of refresh_token or client_credentials'),
        ("token_command = 'x'", "oauth2.token_endpoint: is not used beside token_command"),
        ("client_secret = 'a'\nclient_secret_env = 'B'", "oauth2.client_secret: at most one source can be given; "),
        ("grant = 'client_credentials'", 'oauth2.client_secret: "client_credentials" needs it'),
        (
            "grant = 'client_credentials'\nrefresh_token_env = 'B'",
            'oauth2.refresh_token_env: is not used with "client_credentials"',
        ),
        ("refresh_token_file = 'gone'", "oauth2.refresh_token_file: there is no file /etc/pop3connector/gone"),
        ("ca_file = 'gone'", "oauth2.ca_file: there is no file /etc/pop3connector/gone"),
        ("scopes = 'pop'", "oauth2.scopes: unknown key; did you mean scope?"),
        ("scope = 'a  b'", 'oauth2.scope: "a  b" is not a scope'),
        ("client_secret = 31337", "oauth2.client_secret: must be a string"),
    ],
)
def test_a_problem_with_tokens_says_what_to_write(lines: str, problem: str) -> None:
    found = oauth2_problems(TOKENS + lines)
    assert any(line.startswith(problem) for line in found), found
    assert "31337" not in str(found)


@pytest.mark.parametrize("key", ["token_endpoint", "client_id"])
def test_a_client_lacks_nothing(key: str) -> None:
    text = "\n".join(line for line in TOKENS.splitlines() if not line.startswith(f"{key} "))
    assert oauth2_problems(text) == [f"oauth2.{key}: is required without token_command"]


def test_a_refresh_token_comes_from_somewhere() -> None:
    text = "\n".join(line for line in TOKENS.splitlines() if not line.startswith("device_endpoint "))
    assert oauth2_problems(text) == ["oauth2.refresh_token: is needed, or device_endpoint for `accounts login`"]


def test_tokens_are_no_second_way_beside_a_password() -> None:
    (problem,) = oauth2_problems(ACCOUNT.format(name="sales") + OAUTH2)
    assert problem.endswith("password_credential or oauth2 is needed; these are given: password_env, oauth2")


def test_what_is_no_table_is_no_oauth2() -> None:
    found = oauth2_problems(TOKENS.replace(OAUTH2, "oauth2 = 'xoauth2'"))
    assert found == ["oauth2: must be a table: [accounts.oauth2] below its [[accounts]]"]


@pytest.mark.parametrize("auth", ["auto", "xoauth2", "oauthbearer"])
def test_a_token_is_sent_by_a_mechanism_for_tokens(auth: str) -> None:
    assert settings(TOKENS.replace(OAUTH2, f"auth = '{auth}'\n" + OAUTH2)).accounts[0].auth == auth


def test_a_token_is_sent_by_no_other() -> None:
    (problem,) = oauth2_problems(TOKENS.replace(OAUTH2, "auth = 'apop'\n" + OAUTH2))
    assert problem == 'auth: "apop" sends a password; use auto, xoauth2 or oauthbearer'


@pytest.mark.parametrize("auth", ["xoauth2", "oauthbearer"])
def test_a_mechanism_for_tokens_needs_their_source(auth: str) -> None:
    found = oauth2_problems(ACCOUNT.format(name="sales") + f"auth = '{auth}'")
    assert found == [f'auth: "{auth}" needs [accounts.oauth2]']


@pytest.mark.parametrize("key", ["client_secret", "refresh_token"])
def test_a_file_with_a_secret_of_oauth2_is_a_secret(tmp_path: Path, key: str) -> None:
    file = write(tmp_path / "a.toml", f"{TOKENS}{key} = 'hunter2'", mode=0o640)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {file}"):
        load(file, {})


def test_no_command_sees_a_variable_that_any_secret_is_read_from() -> None:
    commands = f"""
        [smtp]
        username = "us"
        password_command = "relay"
        {ACCOUNT.format(name="env")}
        {ACCOUNT.format(name="command").replace('password_env = "PW"', "password_command = 'isp'")}
        {TOKENS}
        client_secret_env = "CS"
        refresh_token_command = "refresh"
    """
    found = settings(commands)
    hidden = frozenset({"PW", "CS"})
    assert found.smtp.password == PasswordCommand("relay", hidden)
    assert found.accounts[1].password == PasswordCommand("isp", hidden)
    assert isinstance(client := found.accounts[2].oauth2, OAuth2Client)
    assert client.refresh_token == PasswordCommand("refresh", hidden)


def test_a_login_leaves_in_clear_only_where_none_is_written() -> None:
    assert settings(ACCOUNT.format(name="sales")).accounts[0].tls is TlsMode.IMPLICIT
    for tls in ("implicit", "starttls", "none"):
        text = ACCOUNT.format(name="sales") + f"port = 110\ntls = '{tls}'"
        assert settings(text).accounts[0].tls == tls


def test_each_source_of_a_password_is_kept_to_be_read_at_login(tmp_path: Path) -> None:
    file = write(tmp_path / "pw", "secret\n")
    for line, source in (
        (f"password_file = '{file}'", PasswordFile(file)),
        ("password_env = 'PW'", PasswordVariable("PW")),
        ("password_command = 'pass isp'", PasswordCommand("pass isp")),
        ("password_credential = 'isp'", PasswordCredential("isp")),
    ):
        text = ACCOUNT.format(name="sales").replace('password_env = "PW"', line)
        assert settings(text).accounts[0].password == source


def test_relative_paths_start_at_the_file() -> None:
    """A service's working directory is nobody's intention."""
    assert settings("[spool]\ndirectory = 'spool'").spool.directory == FILE.parent / "spool"


@pytest.mark.parametrize(
    ("host", "tls"), [("127.0.0.1", TlsMode.NONE), ("localhost", TlsMode.NONE), ("mx.corp.example", TlsMode.STARTTLS)]
)
def test_the_relay_is_reached_by_starttls_unless_it_is_this_machine(host: str, tls: TlsMode) -> None:
    assert settings(f"[smtp]\nhost = '{host}'").smtp.tls is tls


@pytest.mark.parametrize(("tls", "port"), [("implicit", 995), ("starttls", 110), ("none", 110)])
def test_the_port_of_an_account_follows_its_tls(tls: str, port: int) -> None:
    assert settings(ACCOUNT.format(name="sales") + f"tls = '{tls}'").accounts[0].port == port


def test_an_account_polls_at_the_common_interval_unless_it_has_its_own() -> None:
    text = "[fetch]\ninterval = '1h'" + ACCOUNT.format(name="a") + ACCOUNT.format(name="b") + "interval = '5m'"
    assert [account.interval for account in settings(text).accounts] == [timedelta(hours=1), timedelta(minutes=5)]


@pytest.mark.parametrize("word", Ambiguous)
def test_what_becomes_of_a_message_whose_outcome_is_unknown_can_be_chosen(word: Ambiguous) -> None:
    assert settings(f"[submit]\nambiguous = '{word}'").submit.ambiguous is word


def test_the_summary_of_badmail_goes_to_one_address_or_nowhere() -> None:
    assert settings("").submit.notify is None
    assert settings("[submit]\nnotify = 'postmaster@Corp.example'").submit.notify == "postmaster@corp.example"


@pytest.mark.parametrize("written", ["", "postmaster", "a@b.example\\r\\nBcc: c@d.example", "<a@b.example>"])
def test_a_summary_cannot_be_sent_to_what_is_no_address(written: str) -> None:
    (problem,) = problems(f'[submit]\nnotify = "{written}"')
    assert problem.startswith("submit.notify: ")


def test_less_patience_than_the_rfc_wants_is_allowed() -> None:
    """RFC 5321 section 4.5.3.2.6. `check` warns of it; a test of the relay may want it."""
    assert settings("[smtp]\nfinal_dot_timeout = '1s'").smtp.final_dot_timeout == timedelta(seconds=1)


def test_pickup_accepts_the_domains_of_the_accounts() -> None:
    """A file whose first lines a sender wrote must not choose where we relay."""
    text = ACCOUNT.format(name="a") + ACCOUNT.format(name="b").replace("corp.example", "Branch.example")
    assert settings(text).pickup.accept_domains == {"corp.example", "branch.example"}


def test_pickup_accepts_only_the_domains_that_are_written() -> None:
    text = "[pickup]\naccept_domains = ['Lab.example']" + ACCOUNT.format(name="a")
    assert settings(text).pickup.accept_domains == {"lab.example"}


def test_a_bare_return_path_is_completed_with_the_domain_of_the_first_recipient() -> None:
    assert settings(ACCOUNT.format(name="a")).accounts[0].default_domain == "corp.example"


def test_a_default_domain_that_is_written_counts_for_all() -> None:
    found = settings("[smtp]\ndefault_domain = 'Lab.example'" + ACCOUNT.format(name="a"))
    assert (found.accounts[0].default_domain, found.validate.default_domain) == ("lab.example", "lab.example")


def test_events_are_mirrored_nowhere_unless_somebody_wants_it() -> None:
    assert settings("").log.mirror is Mirror.NONE


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("mirror = 'journald'", "/run/systemd/journal/socket"),
        ("mirror = 'syslog'", "/dev/log"),
        ("mirror = 'file'", "/var/lib/pop3connector/logs/events.jsonl"),
        ("mirror = 'file'\nfile = '/tmp/x.jsonl'", "/tmp/x.jsonl"),
    ],
)
def test_a_mirror_has_its_place(text: str, path: str) -> None:
    assert settings(f"[log]\n{text}").log.path == Path(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mirror = 'jornald'", "log.mirror: "),
        ("file = '/tmp/x.jsonl'", 'log.file: is given without mirror = "file"'),
        ("mirror = 'syslog'\nfile = '/tmp/x.jsonl'", 'log.file: is given without mirror = "file"'),
        ("mirror = 'file'\nfile = '/nowhere/x.jsonl'", "log.file: there is no directory /nowhere"),
        ("mirror = 'file'\nfile = ''", "log.file: "),
    ],
)
def test_a_mirror_that_cannot_be_is_a_problem(text: str, problem: str) -> None:
    (found,) = problems(f"[log]\n{text}")
    assert found.startswith(problem)
