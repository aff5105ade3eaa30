"""A POP3 session that lets users in by access tokens: XOAUTH2, with the token on a line of its own."""

from __future__ import annotations

from base64 import b64decode
from typing import ClassVar

from pipeline.demo.pop3_server import Pop3Session


class TakesTokens(Pop3Session):
    """XOAUTH2 beside what every server takes; the token must be one of `good_tokens`, where these are given."""

    good_tokens: ClassVar[frozenset[str] | None] = None
    refusal: ClassVar[bytes] = b"[AUTH] the token is not good"
    is_token_due = False

    def capa(self, argument: str) -> bytes:
        return super().capa(argument).removesuffix(b".\r\n") + b"SASL XOAUTH2\r\n.\r\n"

    def answer(self, line: bytes) -> bytes:
        if self.is_token_due:
            self.is_token_due = False
            return self.take_token(line)
        if line.upper() == b"AUTH XOAUTH2":
            self.is_token_due = True
            return b"+ \r\n"
        return super().answer(line)

    def take_token(self, line: bytes) -> bytes:
        user, bearer, *_ = b64decode(line).decode().split("\x01")
        if self.good_tokens is not None and bearer.removeprefix("auth=Bearer ") not in self.good_tokens:
            return self.err(self.refusal)
        return self.log_in(user.removeprefix("user="), lambda _: True)
