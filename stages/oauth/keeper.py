"""Keep an account's tokens: give out an access token that is good, and renew it ahead of its end.

**Invariants:** what a provider gives is on disk before it is used; and what is on disk was written once more before a
refresh token is spent, so that a disk that takes nothing costs none. Whoever renews holds the account's lock and looks
again under it, so that two processes do not spend one refresh token. A crash between the provider's answer and our
sync leaves the old refresh token; a provider that has revoked it wants a new login.

**Failures:** `OperatorMustAct` and `TryLater`, one line each that shows no secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from spool.errors import SpoolError, SpoolUnusable, StageHeld
from spool.token_file import TokenFile
from stages import passwords
from stages.errors import OperatorMustAct, TryLater
from stages.oauth import grants
from stages.oauth.endpoint import post
from stages.oauth.grants import Denied
from stages.oauth.tokens import Granted, Tokens, fingerprint, from_json, good_access_token, granted_at, to_json
from stages.secret import Secret
from stages.settings import Grant, OAuth2Client

LOCK_SECONDS = 20.0


class Keeper:
    """The tokens of the account `name`. `env` is the environment of the process."""

    def __init__(
        self,
        name: str,
        client: OAuth2Client,
        *,
        env: Mapping[str, str],
        now: Callable[[], datetime],
        file: TokenFile | None = None,
    ) -> None:
        self.name = name
        self.client = client
        self._env = env
        self._now = now
        self._file = file or TokenFile(client.spool, name)

    def access_token(self) -> Secret:
        """Return an access token that is good now."""
        with self._readable():
            good = good_access_token(self._read(), self.client, now=self._now())
        return good or self._renewed()

    def forget(self, access_token: Secret) -> None:
        """Note that a server has refused this access token: the next login asks for a new one."""
        with self._held():
            tokens = self._read()
            # Another process may have renewed it since.
            if tokens.access_token == access_token:
                self._write(replace(tokens, access_token=None, obtained_at=None, expires_at=None))

    def make_sure_it_keeps(self) -> None:
        """Write what is stored once more: a disk that takes nothing says so before there is anything to lose."""
        with self._held():
            self._write(self._read())

    def keep(self, granted: Granted) -> None:
        """Store what a person's login has given."""
        with self._held():
            self._keep(granted, Tokens(), configured=self._configured()[0])

    def client_secret(self) -> Secret | None:
        """Read the client's secret, where it has one."""
        source = self.client.client_secret
        return None if source is None else passwords.read(source, self._env, what="client secret")

    def _renewed(self) -> Secret:
        with self._held():
            tokens = self._read()
            good = good_access_token(tokens, self.client, now=self._now())
            if good is not None:
                return good
            match self.client.grant:
                case Grant.CLIENT_CREDENTIALS:
                    return self._ask(tokens)
                case Grant.REFRESH_TOKEN:
                    return self._refresh(tokens)
                case _:
                    assert_never(self.client.grant)

    def _ask(self, tokens: Tokens) -> Secret:
        secret = self.client_secret()
        form = grants.client_credentials_form(self.client, secret)
        return self._exchange(form, tokens, secrets=[secret], configured="")

    def _refresh(self, tokens: Tokens) -> Secret:
        configured, from_configuration = self._configured()
        if from_configuration is not None and configured != tokens.configured:
            # It was changed since ours was stored: somebody has mended it.
            tokens = replace(tokens, refresh_token=from_configuration)
        if tokens.refresh_token is None:
            raise OperatorMustAct(f"there is no refresh token yet: {grants.how_to_log_in(self.client, self.name)}")
        secret = self.client_secret()
        form = grants.refresh_form(self.client, secret, refresh_token=tokens.refresh_token)
        self._write(self._read())  # it fails here, or else should not below
        return self._exchange(form, tokens, secrets=[secret, tokens.refresh_token], configured=configured)

    def _exchange(self, form: str, tokens: Tokens, *, secrets: list[Secret | None], configured: str) -> Secret:
        answer = post(self.client.token_endpoint, form, trust=self.client.trust)
        outcome = grants.granted(answer, *secrets)
        if isinstance(outcome, Denied):
            raise grants.failure(outcome, self.client, name=self.name)
        self._keep(outcome, tokens, configured=configured)
        return outcome.access_token

    def _keep(self, granted: Granted, tokens: Tokens, *, configured: str) -> None:
        self._write(granted_at(self._now(), granted, tokens=tokens, client=self.client, configured=configured))

    def _configured(self) -> tuple[str, Secret | None]:
        """The refresh token of the configuration, and what identifies it; empty where it has none."""
        source = self.client.refresh_token
        if source is None:
            return "", None
        token = passwords.read(source, self._env, what="refresh token")
        return fingerprint(token.reveal()), token

    def _read(self) -> Tokens:
        return from_json(self._file.read())

    def _write(self, tokens: Tokens) -> None:
        self._file.write(to_json(tokens))

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self._readable(), self._file.held(timeout=LOCK_SECONDS):
            yield

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """The spool's errors as those of this account alone."""
        try:
            yield
        except StageHeld as error:
            raise TryLater(f"another process renews the access token: {error}") from error
        except SpoolUnusable as error:
            raise OperatorMustAct(str(error)) from error
        except SpoolError as error:
            raise TryLater(str(error)) from error
