"""What is sent to a provider for an access token, and what its answer means.

The forms and the reading of an answer are oauthlib's. What stands around it here keeps a provider in its place: an
answer may be anything, and none of its words is shown that repeats a secret of ours.

**Invariants:** pure; total on any answer. A refusal is a value, `Denied`, and `failure` makes an error of it.

**Failures:** `EndpointFailed` for an answer that says nothing, `OperatorMustAct` for one of somebody else than an
OAuth endpoint.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from oauthlib.oauth2 import BackendApplicationClient, Client, DeviceClient, OAuth2Error

from spool.safe_text import safe_text
from stages.errors import OperatorMustAct, StageError, TryLater
from stages.oauth.endpoint import Answer, EndpointFailed
from stages.oauth.tokens import Granted
from stages.secret import Secret, unless_told
from stages.settings import Grant, OAuth2Client

_LONGEST_LIFETIME = timedelta(days=365)
# RFC 6749 section 4.1.2.1; a token endpoint has no words of its own for trouble that passes.
_PASSING = frozenset({"temporarily_unavailable", "server_error"})
_PASSING_STATUS = frozenset({408, 425, 429})
# What of an answer oauthlib is given: not the lifetime, whose form it judges, since a grant must not be lost by it.
_UNDERSTOOD = ("access_token", "refresh_token", "token_type", "error", "error_description")
# RFC 6750 section 2.1 allows less; providers do not keep to it, and what cannot break out of its line is good enough.
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """A refusal: the code of RFC 6749 section 5.2 or RFC 8628 section 3.5, and what the provider says with it."""

    code: str
    says: str
    is_passing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """How a person logs in on another device (RFC 8628 section 3.2), and how often we may ask whether it was done."""

    device_code: Secret
    user_code: str
    verification_uri: str
    lifetime: timedelta
    interval: timedelta


def refresh_form(client: OAuth2Client, client_secret: Secret | None, *, refresh_token: Secret) -> str:
    """RFC 6749 section 6."""
    return Client(client.client_id).prepare_refresh_body(
        refresh_token=refresh_token.reveal(),
        client_id=client.client_id,
        scope=client.scope,
        **_secret_of_client(client_secret),
    )


def client_credentials_form(client: OAuth2Client, client_secret: Secret | None) -> str:
    """RFC 6749 section 4.4."""
    return BackendApplicationClient(client.client_id).prepare_request_body(
        include_client_id=True, scope=client.scope, **_secret_of_client(client_secret)
    )


def device_code_form(client: OAuth2Client, client_secret: Secret | None) -> str:
    """RFC 8628 section 3.1."""
    scope = {"scope": client.scope} if client.scope else {}
    return urlencode({"client_id": client.client_id, **scope, **_secret_of_client(client_secret)})


def device_token_form(client: OAuth2Client, client_secret: Secret | None, *, device_code: Secret) -> str:
    """RFC 8628 section 3.4."""
    return DeviceClient(client.client_id).prepare_request_body(
        device_code.reveal(), include_client_id=True, **_secret_of_client(client_secret)
    )


def granted(answer: Answer, *secrets: Secret | None) -> Granted | Denied:
    """Read the answer of a token endpoint; `secrets` are those that were sent to it."""
    members = _members(answer)
    known = {key: members[key] for key in _UNDERSTOOD if members.get(key) is not None}
    try:
        found = Client("").parse_request_body_response(json.dumps(known))
    except OAuth2Error as error:
        if error.error == "missing_token":
            raise _says_nothing(answer) from None
        return _denied(answer, *secrets, code=error.error, description=error.description)
    access_token = _token(found.get("access_token"))
    if access_token is None or answer.status // 100 != 2:
        raise _says_nothing(answer)
    return Granted(
        access_token=access_token,
        refresh_token=_token(found.get("refresh_token")),
        lifetime=_duration(members.get("expires_in")),
    )


def device_code(answer: Answer, *secrets: Secret | None) -> DeviceCode | Denied:
    """Read the answer of a device endpoint."""
    found = _members(answer)
    if found.get("error") is not None:
        return _denied(answer, *secrets, code=found["error"], description=found.get("error_description"))
    code, user_code = _token(found.get("device_code")), found.get("user_code")
    uri = found.get("verification_uri") or found.get("verification_url")  # the latter is Google's
    if code is None or not isinstance(user_code, str) or not isinstance(uri, str):
        raise _says_nothing(answer)
    return DeviceCode(
        device_code=code,
        user_code=safe_text(user_code.encode(errors="replace")),
        verification_uri=safe_text(uri.encode(errors="replace")),
        lifetime=_duration(found.get("expires_in")) or timedelta(minutes=5),
        interval=_duration(found.get("interval")) or timedelta(seconds=5),  # RFC 8628 section 3.2
    )


def failure(denied: Denied, client: OAuth2Client, *, name: str) -> StageError:
    """Say what a refusal means for the account `name`, and what to do."""
    says = f"the provider says {denied.says}"
    if denied.is_passing:
        return TryLater(says)
    match denied.code:
        case "invalid_grant" if client.grant is Grant.REFRESH_TOKEN:
            return OperatorMustAct(f"the refresh token is no longer valid ({says}): {how_to_log_in(client, name)}")
        case "invalid_client" | "unauthorized_client":
            return OperatorMustAct(f"oauth2.client_id or client_secret is not accepted ({says})")
        case "invalid_scope":
            return OperatorMustAct(f"oauth2.scope is not accepted ({says})")
        case "access_denied":
            return OperatorMustAct(f"the login was refused ({says})")
        case _:
            return OperatorMustAct(f"no access token is given ({says})")


def how_to_log_in(client: OAuth2Client, name: str) -> str:
    """What a person does to get a new refresh token for the account `name`."""
    if client.device_endpoint is None:
        return "get a new one and put it where oauth2.refresh_token says"
    return f"run 'pop3connector accounts login {shlex.quote(name)}'"


def _secret_of_client(client_secret: Secret | None) -> Mapping[str, str]:
    # In the form and not as HTTP Basic (RFC 6749 section 2.3.1): Microsoft and Google document this way.
    return {} if client_secret is None else {"client_secret": client_secret.reveal()}


def _members(answer: Answer) -> dict[str, object]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise _says_nothing(answer) from None  # not as the cause: it may quote a token
    if not isinstance(found, dict):
        raise _says_nothing(answer)
    return found


def _denied(answer: Answer, *secrets: Secret | None, code: object, description: object) -> Denied:
    code = str(code)
    words = code if not description else f"{code}: {str(description).splitlines()[0]}"
    return Denied(
        code=code,
        says=safe_text(unless_told(words.encode(errors="replace"), *secrets)),
        is_passing=code in _PASSING or answer.status >= 500 or answer.status in _PASSING_STATUS,
    )


def _says_nothing(answer: Answer) -> StageError:
    if answer.status // 100 == 3:
        to = answer.location.partition("?")[0]
        return OperatorMustAct(f"{answer.url} redirects to {to or 'nowhere'}, which is not followed: mend the endpoint")
    if answer.status // 100 == 4 and answer.status not in _PASSING_STATUS:
        return OperatorMustAct(f"{answer.url} answers HTTP {answer.status} and nothing of OAuth: is it the right one?")
    return EndpointFailed(f"{answer.url} answers HTTP {answer.status} and nothing of OAuth")


def _token(value: object) -> Secret | None:
    return Secret(value) if isinstance(value, str) and _TOKEN.fullmatch(value) else None


def _duration(value: object) -> timedelta | None:
    try:
        seconds = int(value) if isinstance(value, int | float | str) else 0
    except (ValueError, OverflowError):
        return None
    return min(timedelta(seconds=min(seconds, 10**9)), _LONGEST_LIFETIME) if seconds > 0 else None
