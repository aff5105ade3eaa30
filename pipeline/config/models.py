"""The shape of the file: its tables, keys and defaults, as pydantic models.

**Invariants:** the defaults stand here and nowhere else; a key that is not here is an error. The text below a key is
its meaning in the reference. Rules that look at more than one table, or beyond the file, are in `crosschecks`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

from pipeline.config import grammar
from stages.secret import Secret
from stages.settings import (
    Ambiguous,
    AuthMethod,
    BareNewlines,
    Grant,
    InvalidReversePath,
    Mirror,
    Oversize,
    RelayProtocol,
    TlsMode,
)
from stages.trust import TlsVersion


def keys_of_secret(name: str) -> tuple[str, ...]:
    """The keys that say where a secret is, one for each source."""
    return (name, f"{name}_file", f"{name}_env", f"{name}_command", f"{name}_credential")


PASSWORD_KEYS = keys_of_secret("password")
# Of `[accounts.oauth2]` and `[smtp.oauth2]`.
SECRETS = ("client_secret", "refresh_token")

# POP3's own ways to log in, and the word of its clients for NTLM.
WAYS_OF_POP3 = frozenset({AuthMethod.BASIC, AuthMethod.APOP, AuthMethod.SPA})


Text = Annotated[str, PlainValidator(grammar.text)]
Name = Annotated[str, PlainValidator(grammar.name)]
Host = Annotated[str, PlainValidator(grammar.host)]
RelayHost = Annotated[str, PlainValidator(grammar.relay_host)]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1)]
Connections = Annotated[int, Field(ge=1, le=100)]
Sessions = Annotated[int, Field(ge=1, le=10_000)]
Duration = Annotated[timedelta, PlainValidator(grammar.duration)]
TimeLimit = Annotated[timedelta, PlainValidator(grammar.time_limit)]
Interval = Annotated[timedelta, PlainValidator(grammar.poll_interval)]
KeepTime = Annotated[timedelta | None, PlainValidator(grammar.keep_time)]
Size = Annotated[int, PlainValidator(grammar.size)]
SizeLimit = Annotated[int | None, PlainValidator(grammar.size_limit)]
Domain = Annotated[str, PlainValidator(grammar.domain)]
Domains = Annotated[tuple[str, ...], PlainValidator(grammar.domains)]
Address = Annotated[str, PlainValidator(grammar.address)]
Addresses = Annotated[tuple[str, ...], PlainValidator(grammar.addresses)]
Fingerprints = Annotated[tuple[str, ...], PlainValidator(grammar.fingerprints)]
Owners = Annotated[frozenset[int], PlainValidator(grammar.owner_uids)]
Endpoint = Annotated[str, PlainValidator(grammar.endpoint)]
Scope = Annotated[str, PlainValidator(grammar.scope)]
GrantWord = Annotated[Grant, PlainValidator(grammar.choice(Grant))]
Password = Annotated[Secret, PlainValidator(grammar.secret)]
MinVersion = Annotated[TlsVersion, PlainValidator(grammar.choice(TlsVersion))]
Tls = Annotated[TlsMode, PlainValidator(grammar.choice(TlsMode))]
Auth = Annotated[AuthMethod, PlainValidator(grammar.choice(AuthMethod))]
RelayAuth = Annotated[AuthMethod, PlainValidator(grammar.choice(AuthMethod, without=WAYS_OF_POP3))]
MirrorWord = Annotated[Mirror, PlainValidator(grammar.choice(Mirror))]
OversizeRule = Annotated[Oversize, PlainValidator(grammar.choice(Oversize))]
ProtocolWord = Annotated[RelayProtocol, PlainValidator(grammar.choice(RelayProtocol))]
AmbiguousRule = Annotated[Ambiguous, PlainValidator(grammar.choice(Ambiguous))]
BareNewlinesRule = Annotated[BareNewlines, PlainValidator(grammar.choice(BareNewlines))]
ReversePathRule = Annotated[InvalidReversePath, PlainValidator(grammar.choice(InvalidReversePath))]


class Table(BaseModel):
    """A table of the file: strict, closed, and quiet about its values."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class SpoolTable(Table):
    """`[spool]`."""

    directory: Text = "/var/lib/pop3connector"
    """The spool. A local file system; NFS and SMB are refused."""
    min_free_space: Size = grammar.size("256MB")
    """Below it fetch stops, and says so; submit goes on."""
    history: Duration = grammar.duration("30d")
    """How long finished messages are still listed, and events kept; those of a message as long as it is."""


class WithPassword(Table):
    """The keys of a login's password; exactly one of them."""

    password: Password | None = None
    """In the file, which then nobody but its owner may read (`chmod 600`)."""
    password_file: Text | None = None
    """The first line of a file, with the same rule."""
    password_env: Text | None = None
    """An environment variable."""
    password_command: Text | None = None
    """The first line that a command prints. It is run by `/bin/sh`, must end within 30 seconds, and does not see the
    variables that other secrets of the file are read from."""
    password_credential: Text | None = None
    """A systemd credential, by its name in `LoadCredential=`."""


class WithTls(Table):
    """The keys that say how a server is trusted, and what it is shown of us."""

    tls: Tls | None = None
    """`"none"`, `"starttls"` or `"implicit"`. Default: `"none"` for `localhost` and loopback addresses, else
    `"starttls"`."""
    tls_min_version: MinVersion = TlsVersion.TLS_1_2
    """`"1.2"` or `"1.3"`: nothing older is spoken."""
    ca_file: Text | None = None
    """CA certificates in PEM, instead of the system's."""
    tls_fingerprint: Fingerprints = ()
    """`"sha256:..."` of the server's certificate; several for the time in which it changes. They replace CA and name
    checks."""
    tls_certificate: Text | None = None
    """Our certificate in PEM, with its chain, for a server that asks for one."""
    tls_key: Text | None = None
    """Its private key in PEM, without a passphrase, where it is not in the same file. Nobody but its owner may read it
    (`chmod 600`)."""


class OAuth2Table(Table):
    """`[accounts.oauth2]` and `[smtp.oauth2]`: where access tokens come from."""

    token_command: Text | None = None
    """A command that prints an access token; it is run at each login, as a `password_command` is. Without it the next
    keys are needed."""
    grant: GrantWord = Grant.REFRESH_TOKEN
    """By what right: `"refresh_token"`, a person's consent; `"client_credentials"`, the application's own (Microsoft's
    `POP.AccessAsApp`)."""
    token_endpoint: Endpoint | None = None
    """Required without `token_command`. The provider's URL for tokens: https, except on this machine."""
    device_endpoint: Endpoint | None = None
    """Its URL for device codes, for [`accounts login`](commands.md#accounts-login)."""
    client_id: Text | None = None
    """Required without `token_command`. The application's id with the provider."""
    scope: Scope | None = None
    """What is asked for: a string or an array."""
    client_secret: Password | None = None
    client_secret_file: Text | None = None
    client_secret_env: Text | None = None
    client_secret_command: Text | None = None
    client_secret_credential: Text | None = None
    refresh_token: Password | None = None
    refresh_token_file: Text | None = None
    refresh_token_env: Text | None = None
    refresh_token_command: Text | None = None
    refresh_token_credential: Text | None = None
    ca_file: Text | None = None
    """CA certificates in PEM for the endpoints, instead of the system's."""


class SmtpTable(WithTls, WithPassword):
    """`[smtp]`."""

    host: RelayHost = "127.0.0.1"
    """Name or address, or the absolute path of a UNIX socket."""
    port: Port = 25
    """With LMTP another one is needed, often 24; a UNIX socket has none."""
    protocol: ProtocolWord = RelayProtocol.SMTP
    """Or `"lmtp"`, by which each recipient of a message is answered for by itself (RFC 2033)."""
    auth: RelayAuth = AuthMethod.AUTO
    """How: one of the [words below](#logins), but for those of POP3 alone (`"basic"`, `"apop"`, `"spa"`)."""
    username: Text | None = None
    """Log in, with a [password source](#passwords), or with `oauth2`."""
    oauth2: OAuth2Table | None = None
    """`[smtp.oauth2]`: access tokens instead of a password, with the keys of [`[accounts.oauth2]`](#accountsoauth2) but
    `device_endpoint`."""
    default_domain: Domain | None = None
    """Completes a return path that has no domain. Default: the domain of the account's first `deliver_to`."""
    timeout: TimeLimit = grammar.duration("5m")
    """How long to wait for a reply."""
    final_dot_timeout: TimeLimit = grammar.duration("10m")
    """The same for the reply to a whole message. Less than ten minutes makes duplicates (RFC 5321 section 4.5.3.2.6),
    and `check` warns of it."""
    connections: Connections = 4
    """At once; 1 to 100."""
    max_protocol_errors: Count = 4
    """After so many the connection is renewed, before the server closes it (Exchange does at 5)."""


class FetchTable(Table):
    """`[fetch]`."""

    interval: Interval = grammar.duration("15m")
    """Between two polls of an account: 5m to 24h."""
    max_messages_per_session: Count = 500
    """Then `QUIT`; while more is waiting another session follows, after the other accounts had their turn."""
    max_message_size: SizeLimit = grammar.size_limit("auto")
    """`"auto"`: what the relay accepts (`SIZE`), less 4 KiB for our header. Or a size."""
    oversize: OversizeRule = Oversize.LEAVE
    """`"leave"` it at the provider and report it once, or fetch it and put it into `"badmail"`."""
    timeout: TimeLimit = grammar.duration("60s")
    """The session ends when no octet came for so long."""
    session_timeout: TimeLimit = grammar.duration("10m")
    """The longest session."""
    concurrency: Sessions = 32
    """Maildrops at once; 1 to 10,000."""
    per_host: Sessions = 4
    """Of them at one host; 1 to 10,000."""


class ValidateTable(Table):
    """`[validate]`."""

    invalid_return_path: ReversePathRule = InvalidReversePath.BADMAIL
    """What becomes of a message whose return path cannot be repaired; `"null"` submits it with `MAIL FROM:<>`;
    `"fallback"` takes the next header (`Return-Path`, `Sender`, `From`) that has a usable one, and Badmail where none
    has."""
    max_hops: Count = 50
    """`Received` headers; more is a loop."""


class SubmitTable(Table):
    """`[submit]`."""

    retry_initial: TimeLimit = grammar.duration("1m")
    """The first wait after a temporary refusal; it doubles each time, with jitter, up to `retry_max`."""
    retry_max: TimeLimit = grammar.duration("1h")
    """The longest wait."""
    queue_lifetime: Duration = grammar.duration("5d")
    """Then Badmail. It runs only while the relay is reachable."""
    bare_newlines: BareNewlinesRule = BareNewlines.NORMALISE
    """What becomes of a fetched message with a CR or LF that is not half of a CRLF: `"normalise"` makes each a CRLF,
    `"badmail"` refuses the message."""
    ambiguous: AmbiguousRule = Ambiguous.RESEND
    """What becomes of a message whose final dot got no reply, so that the relay may have it: `"resend"` sends it again
    and marks it a possible duplicate, `"hold"` holds it until [`spool release`](commands.md#spool-release) or
    [`spool rm`](commands.md#spool-rm)."""
    notify: Address | None = None
    """An address. It gets a [summary](#the-summary-of-badmail) when something new is in Badmail, once a day at most."""

    @model_validator(mode="after")
    def _retries_grow_apart(self) -> Self:
        if self.retry_max < self.retry_initial:
            raise ValueError("retry_max is shorter than retry_initial")
        return self


class PickupTable(Table):
    """`[pickup]`."""

    settle: Duration = grammar.duration("1s")
    """How long a file must be unchanged before it is taken."""
    owners: Owners = frozenset()
    """Users, by name or number, whose files are taken, besides the service user and root."""
    accept_domains: Domains = ()
    """The only domains that a pickup file may be sent to; empty: those of the accounts' `deliver_to`."""


class LogTable(Table):
    """`[log]`."""

    mirror: MirrorWord = Mirror.NONE
    """Where events are told besides `pop3connector events`: `"journald"`, `"syslog"`, `"file"` or nowhere, `"none"`."""
    file: Text | None = None
    """With `"file"`: where the lines go, each as [`events --json`](json.md#events) prints it. It is rotated at 10 MiB;
    `.1` to `.4` are kept. Default: `logs/events.jsonl` in the spool."""


class AccountTable(WithTls, WithPassword):
    """One `[[accounts]]`."""

    name: Name
    """At most 64 characters, yours to choose, each once."""
    host: Host
    """Name or address of the provider's POP3 server."""
    port: Port | None = None
    """Default: 995 with implicit TLS, else 110."""
    tls: Tls = TlsMode.IMPLICIT
    """`"implicit"`, `"starttls"` or `"none"`."""
    auth: Auth = AuthMethod.AUTO
    """How to log in: one of the [words below](#logins)."""
    username: Text
    """With a [password source](#passwords), or with `oauth2`."""
    oauth2: OAuth2Table | None = None
    """[`[accounts.oauth2]`](#accountsoauth2): access tokens instead of a password; then `auth` is `"auto"`, `"xoauth2"`
    or `"oauthbearer"`."""
    deliver_to: Addresses
    """Where the mail goes: an address or several."""
    interval: Interval | None = None
    """Between two polls: 5m to 24h. Default: that of `[fetch]`."""
    leave_on_server: KeepTime = timedelta(0)
    """`false`: delete what is safe in the spool. `true`: leave it. `"14d"`: leave it so long."""
    enabled: bool = True
    """Whether it is polled."""


class Configuration(Table):
    """The whole file."""

    spool: SpoolTable = SpoolTable()
    smtp: SmtpTable = SmtpTable()
    fetch: FetchTable = FetchTable()
    validate_: ValidateTable = Field(default=ValidateTable(), alias="validate")
    submit: SubmitTable = SubmitTable()
    pickup: PickupTable = PickupTable()
    log: LogTable = LogTable()
    accounts: list[AccountTable] = []
