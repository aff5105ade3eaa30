"""What each stage is told: plain frozen values, complete and checked before a stage sees them.

**Invariants:** durations are `timedelta`, sizes are octets, names that compare (hosts, domains) are lower case, paths
are absolute. There are no defaults here: `pipeline.config` holds them, once. A password is a source that
`stages.passwords.read` turns into a secret when it is needed, so that a rotated one is found at the next login.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from stages.passwords import PasswordCommand, PasswordSource
from stages.trust import Trust


class TlsMode(StrEnum):
    """How a connection is protected."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class AuthMethod(StrEnum):
    """How an account, or we at the relay, log in; `BASIC` is USER and PASS, `SPA` is Microsoft's word for NTLM."""

    AUTO = "auto"
    BASIC = "basic"
    APOP = "apop"
    SPA = "spa"
    NTLM = "ntlm"
    PLAIN = "plain"
    LOGIN = "login"
    CRAM_MD5 = "cram-md5"
    SCRAM_SHA_1 = "scram-sha-1"
    SCRAM_SHA_256 = "scram-sha-256"
    XOAUTH2 = "xoauth2"
    OAUTHBEARER = "oauthbearer"

    @property
    def takes_token(self) -> bool:
        """Whether it sends an OAuth 2.0 access token and never a password."""
        return self in (AuthMethod.XOAUTH2, AuthMethod.OAUTHBEARER)


class Grant(StrEnum):
    """By what right an application gets access tokens: a person's consent (RFC 6749 section 6), or its own (4.4)."""

    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - a word, no secret
    CLIENT_CREDENTIALS = "client_credentials"


class Oversize(StrEnum):
    """What becomes of a message over the size limit."""

    LEAVE = "leave"
    BADMAIL = "badmail"


class InvalidReversePath(StrEnum):
    """What becomes of a message whose reverse-path cannot be repaired.

    `NULL` submits it with `MAIL FROM:<>`; `FALLBACK` asks the next header that could give one.
    """

    BADMAIL = "badmail"
    NULL = "null"
    FALLBACK = "fallback"


class RelayProtocol(StrEnum):
    """How the relay is spoken to."""

    SMTP = "smtp"
    LMTP = "lmtp"


class BareNewlines(StrEnum):
    """What becomes of a message with a CR or LF that is not half of a CRLF."""

    NORMALISE = "normalise"
    BADMAIL = "badmail"


class Ambiguous(StrEnum):
    """What becomes of a message whose final dot got no reply: the relay may have it."""

    RESEND = "resend"
    HOLD = "hold"


class Mirror(StrEnum):
    """Where events are told besides the index."""

    NONE = "none"
    JOURNALD = "journald"
    SYSLOG = "syslog"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSettings:
    """The place of the spool, and what it may cost."""

    directory: Path
    min_free_octets: int
    history: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpSettings:
    """The relay that we submit to. A `host` that is an absolute path is a UNIX socket; it has no port and no TLS.

    With a `username` either `password` or `oauth2` is None, and the other is not; without one both are. `auth` is one
    of those that SMTP has, and is moot without a username.
    """

    host: str
    port: int
    protocol: RelayProtocol
    tls: TlsMode
    trust: Trust
    auth: AuthMethod
    username: str | None
    password: PasswordSource | None
    oauth2: TokenSource | None
    timeout: timedelta
    final_dot_timeout: timedelta
    connections: int
    max_protocol_errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """How maildrops are polled. `max_message_octets` None: the relay's limit decides."""

    max_messages_per_session: int
    max_message_octets: int | None
    oversize: Oversize
    timeout: timedelta
    session_timeout: timedelta
    concurrency: int
    per_host: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateSettings:
    """What a message must satisfy.

    `default_domain` serves messages of no account; without one their bare local parts stay unusable.
    """

    invalid_reverse_path: InvalidReversePath
    bare_newlines: BareNewlines
    max_hops: int
    default_domain: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitSettings:
    """When a deferred message is tried again, and for how long; what becomes of one whose outcome is unknown.

    `notify` is who gets the summary of Badmail, None for nobody.
    """

    retry_initial: timedelta
    retry_max: timedelta
    queue_lifetime: timedelta
    ambiguous: Ambiguous
    notify: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PickupSettings:
    """Which files are taken from Pickup. `owner_uids` come on top of the service user and root."""

    settle: timedelta
    owner_uids: frozenset[int]
    accept_domains: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Where events are mirrored: `path` is the file, or the socket that is listened to; moot without a mirror."""

    mirror: Mirror
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Client:
    """An application that the provider knows, and how it gets access tokens; they are kept below `spool`.

    `device_endpoint` None: nobody can log in here, `refresh_token` has the consent. `client_secret` None: a public
    client. `trust` is for the endpoints, which are URLs.
    """

    grant: Grant
    token_endpoint: str
    device_endpoint: str | None
    client_id: str
    client_secret: PasswordSource | None
    scope: str
    refresh_token: PasswordSource | None
    trust: Trust
    spool: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCommand:
    """A command that prints an access token; it keeps and renews what it needs itself."""

    command: PasswordCommand


TokenSource = OAuth2Client | TokenCommand


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """One POP3 mailbox and where its mail goes; either `password` or `oauth2` is None, and the other is not.

    `deliver_to` has at least one address. `leave_on_server` is how long a fetched message stays at the provider: zero
    deletes it at once, None keeps it for ever. `default_domain` completes a reverse-path that has no domain.
    """

    name: str
    host: str
    port: int
    tls: TlsMode
    trust: Trust
    auth: AuthMethod
    username: str
    password: PasswordSource | None
    oauth2: TokenSource | None
    deliver_to: tuple[str, ...]
    default_domain: str
    interval: timedelta
    leave_on_server: timedelta | None
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration."""

    spool: SpoolSettings
    smtp: SmtpSettings
    fetch: FetchSettings
    validate: ValidateSettings
    submit: SubmitSettings
    pickup: PickupSettings
    log: LogSettings
    accounts: tuple[AccountSettings, ...]
