"""What is kept of an account's tokens, and the decision whether an access token is still good.

**Invariants:** total on any file content: what cannot be understood counts as nothing kept. An access token is good
only for the client that it was given to, and only until shortly before it expires; one without a stated lifetime is
good for the one login that it was asked for.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stages.secret import Secret
from stages.settings import OAuth2Client

MARGIN = timedelta(minutes=5)
_SHARE_OF_SHORT_ONES = 4
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What is kept of an account.

    `client` identifies to whom the access token was given. `configured` identifies the refresh token that stood in the
    configuration when `refresh_token` was stored: while it stands there still, the stored one has come out of it.
    """

    access_token: Secret | None = None
    obtained_at: datetime | None = None
    expires_at: datetime | None = None
    refresh_token: Secret | None = None
    client: str = ""
    configured: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What a provider gave us; `refresh_token` None: the one that we have goes on, `lifetime` None: it did not say."""

    access_token: Secret
    refresh_token: Secret | None
    lifetime: timedelta | None


def good_access_token(tokens: Tokens, client: OAuth2Client, *, now: datetime) -> Secret | None:
    """Return the access token while it is good."""
    if tokens.client != identity(client) or tokens.obtained_at is None or tokens.expires_at is None:
        return None
    lifetime = tokens.expires_at - tokens.obtained_at
    # Of a token that lives for a minute five minutes of margin would leave nothing.
    margin = min(MARGIN, lifetime / _SHARE_OF_SHORT_ONES)
    # Before it was obtained the clock has been set back, and then nobody knows.
    is_good = tokens.obtained_at <= now < tokens.expires_at - margin
    return tokens.access_token if is_good else None


def granted_at(now: datetime, granted: Granted, *, tokens: Tokens, client: OAuth2Client, configured: str) -> Tokens:
    """Return what is to be kept after a grant; RFC 6749 section 6: a new refresh token replaces the old one."""
    return Tokens(
        access_token=granted.access_token,
        obtained_at=now,
        expires_at=None if granted.lifetime is None else now + granted.lifetime,
        refresh_token=granted.refresh_token or tokens.refresh_token,
        client=identity(client),
        configured=configured,
    )


def identity(client: OAuth2Client) -> str:
    """What tells a client and what it asks for from any other."""
    return fingerprint("\n".join((client.grant, client.token_endpoint, client.client_id, client.scope)))


def fingerprint(text: str) -> str:
    """A digest that stands for a text without showing it."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def to_json(tokens: Tokens) -> bytes:
    """What the file holds: the only place where the tokens are in clear."""
    return json.dumps(
        {
            "format": _FORMAT,
            "access_token": tokens.access_token and tokens.access_token.reveal(),
            "obtained_at": tokens.obtained_at and tokens.obtained_at.isoformat(),
            "expires_at": tokens.expires_at and tokens.expires_at.isoformat(),
            "refresh_token": tokens.refresh_token and tokens.refresh_token.reveal(),
            "client": tokens.client,
            "configured": tokens.configured,
        },
        indent=2,
    ).encode("ascii")


def from_json(content: bytes) -> Tokens:
    """Read what the file holds."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return Tokens()
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        return Tokens()
    return Tokens(
        access_token=_secret(found.get("access_token")),
        obtained_at=_time(found.get("obtained_at")),
        expires_at=_time(found.get("expires_at")),
        refresh_token=_secret(found.get("refresh_token")),
        client=str(found.get("client")),
        configured=str(found.get("configured")),
    )


def _secret(value: object) -> Secret | None:
    return Secret(value) if isinstance(value, str) and value else None


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value).astimezone(UTC) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
