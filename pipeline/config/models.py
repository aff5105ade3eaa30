"""The shape of the file: its tables, keys and defaults, as pydantic models.

**Invariants:** the defaults stand here and nowhere else; a key that is not here is an error. Rules that look at more
than one table, or beyond the file, are in `crosschecks`.
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
    min_free_space: Size = grammar.size("256MB")
    history: Duration = grammar.duration("30d")


class WithPassword(Table):
    """The keys of a login's password; exactly one of them."""

    password: Password | None = None
    password_file: Text | None = None
    password_env: Text | None = None
    password_command: Text | None = None
    password_credential: Text | None = None


class WithTls(Table):
    """The keys that say how a server is trusted, and what it is shown of us."""

    tls: Tls | None = None
    tls_min_version: MinVersion = TlsVersion.TLS_1_2
    ca_file: Text | None = None
    tls_fingerprint: Fingerprints = ()
    tls_certificate: Text | None = None
    tls_key: Text | None = None


class OAuth2Table(Table):
    """`[accounts.oauth2]` and `[smtp.oauth2]`: where access tokens come from."""

    token_command: Text | None = None
    grant: GrantWord = Grant.REFRESH_TOKEN
    token_endpoint: Endpoint | None = None
    device_endpoint: Endpoint | None = None
    client_id: Text | None = None
    scope: Scope | None = None
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


class SmtpTable(WithTls, WithPassword):
    """`[smtp]`."""

    host: RelayHost = "127.0.0.1"
    port: Port = 25
    protocol: ProtocolWord = RelayProtocol.SMTP
    auth: RelayAuth = AuthMethod.AUTO
    username: Text | None = None
    oauth2: OAuth2Table | None = None
    default_domain: Domain | None = None
    timeout: TimeLimit = grammar.duration("5m")
    final_dot_timeout: TimeLimit = grammar.duration("10m")
    connections: Connections = 4
    max_protocol_errors: Count = 4


class FetchTable(Table):
    """`[fetch]`."""

    interval: Interval = grammar.duration("15m")
    max_messages_per_session: Count = 500
    max_message_size: SizeLimit = grammar.size_limit("auto")
    oversize: OversizeRule = Oversize.LEAVE
    timeout: TimeLimit = grammar.duration("60s")
    session_timeout: TimeLimit = grammar.duration("10m")
    concurrency: Sessions = 32
    per_host: Sessions = 4


class ValidateTable(Table):
    """`[validate]`."""

    invalid_return_path: ReversePathRule = InvalidReversePath.BADMAIL
    max_hops: Count = 50


class SubmitTable(Table):
    """`[submit]`."""

    retry_initial: TimeLimit = grammar.duration("1m")
    retry_max: TimeLimit = grammar.duration("1h")
    queue_lifetime: Duration = grammar.duration("5d")
    bare_newlines: BareNewlinesRule = BareNewlines.NORMALISE
    ambiguous: AmbiguousRule = Ambiguous.RESEND
    notify: Address | None = None

    @model_validator(mode="after")
    def _retries_grow_apart(self) -> Self:
        if self.retry_max < self.retry_initial:
            raise ValueError("retry_max is shorter than retry_initial")
        return self


class PickupTable(Table):
    """`[pickup]`."""

    settle: Duration = grammar.duration("1s")
    owners: Owners = frozenset()
    accept_domains: Domains = ()


class AccountTable(WithTls, WithPassword):
    """One `[[accounts]]`."""

    name: Name
    host: Host
    port: Port | None = None
    tls: Tls = TlsMode.IMPLICIT
    auth: Auth = AuthMethod.AUTO
    username: Text
    oauth2: OAuth2Table | None = None
    deliver_to: Addresses
    interval: Interval | None = None
    leave_on_server: KeepTime = timedelta(0)
    enabled: bool = True


class Configuration(Table):
    """The whole file."""

    spool: SpoolTable = SpoolTable()
    smtp: SmtpTable = SmtpTable()
    fetch: FetchTable = FetchTable()
    validate_: ValidateTable = Field(default=ValidateTable(), alias="validate")
    submit: SubmitTable = SubmitTable()
    pickup: PickupTable = PickupTable()
    accounts: list[AccountTable] = []
