"""Log an account in by a person on another device (RFC 8628), for hosts without a browser.

**Invariants:** the endpoint is asked no more often than it wants; what it gives is stored before this returns, and
that it can be stored is known before anybody is asked to type a code.

**Failures:** `LoginDenied` (the person said no), `OperatorMustAct`, `TryLater` (the code ran out, the network).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from stages.errors import OperatorMustAct, TryLater
from stages.oauth import grants
from stages.oauth.endpoint import EndpointFailed, post
from stages.oauth.grants import Denied, DeviceCode
from stages.oauth.keeper import Keeper
from stages.oauth.tokens import Granted
from stages.secret import Secret

_SLOWER = timedelta(seconds=5)


class LoginDenied(OperatorMustAct):
    """The person whose consent was asked for did not give it."""


def log_in(keeper: Keeper, *, show: Callable[[DeviceCode], None], sleep: Callable[[float], None]) -> None:
    """Get a refresh token for the account of `keeper`; `show` tells a person where to enter which code."""
    client = keeper.client
    if client.device_endpoint is None:
        raise OperatorMustAct("oauth2.device_endpoint is not set: the provider's documentation names it")
    keeper.make_sure_it_keeps()
    secret = keeper.client_secret()
    answer = post(client.device_endpoint, grants.device_code_form(client, secret), trust=client.trust)
    code = grants.device_code(answer, secret)
    if isinstance(code, Denied):
        raise grants.failure(code, client, name=keeper.name)
    show(code)
    granted = _wait_for_consent(keeper, code, client_secret=secret, sleep=sleep)
    if granted.refresh_token is None:
        raise OperatorMustAct("the provider gave no refresh token: does oauth2.scope lack offline_access?")
    keeper.keep(granted)


def _wait_for_consent(
    keeper: Keeper, code: DeviceCode, *, client_secret: Secret | None, sleep: Callable[[float], None]
) -> Granted:
    client = keeper.client
    form = grants.device_token_form(client, client_secret, device_code=code.device_code)
    pace = _Pace(code)
    for seconds in pace:
        sleep(seconds)
        try:
            answer = post(client.token_endpoint, form, trust=client.trust)
            outcome = grants.granted(answer, client_secret, code.device_code)
        except EndpointFailed:
            pace.interval *= 2  # RFC 8628 section 3.5, of a connection that times out; garbage is no better
            continue
        match outcome:
            case Granted() as granted:
                return granted
            case Denied(code="authorization_pending"):
                pass
            case Denied(code="slow_down"):
                pace.interval += _SLOWER
            case Denied(code="expired_token"):
                break
            case Denied(code="access_denied", says=says):
                raise LoginDenied(f"the login was refused (the provider says {says})")
            case denied:
                raise grants.failure(denied, client, name=keeper.name)
    raise TryLater("the code ran out before it was entered: run the command again")


class _Pace:
    """The waits between two requests, for as long as the code is good."""

    def __init__(self, code: DeviceCode) -> None:
        self.interval = code.interval
        self._left = code.lifetime

    def __iter__(self) -> Iterator[float]:
        while self._left > timedelta(0):
            self._left -= self.interval
            yield self.interval.total_seconds()
