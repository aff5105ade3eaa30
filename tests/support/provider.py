"""An OAuth 2.0 provider on loopback: token and device endpoints by https, which can be told to misbehave."""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qsl

from stages.passwords import PasswordSource
from stages.secret import Secret
from stages.settings import Grant, OAuth2Client
from stages.trust import Trust
from tests.support.authority import Authority

CLIENT_ID = "our-application"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP answer. `cut`: only so many octets of the body are sent; `silent`: nothing is, until the client goes."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    silent: bool = False


def refusal(code: str, description: str = "", *, status: int = 400) -> Reply:
    """An error of RFC 6749 section 5.2."""
    body = {"error": code} | ({"error_description": description} if description else {})
    return Reply(status=status, body=json.dumps(body).encode())


class Provider:
    """What the endpoints are asked and what they answer.

    Whatever is in `replies` is said first. `grants` says whose refresh token is good; with `rotates` each is good once.
    """

    def __init__(self, port: int, ca_file: Path) -> None:
        self.port = port
        self.ca_file = ca_file
        self.forms: list[dict[str, str]] = []
        self.replies: deque[Reply] = deque()
        self.lifetime: object = 3600
        self.rotates = True
        self.interval = 5
        self.good_refresh_token = "refresh-0"
        self.issued = 0
        self.prefix = ""
        self.lock = threading.Lock()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def client(self, spool: Path, *, grant: Grant = Grant.REFRESH_TOKEN, **more: object) -> OAuth2Client:
        """The configuration of a client of this provider."""
        secret: PasswordSource = Secret("client-secret")
        values: dict[str, object] = {
            "grant": grant,
            "token_endpoint": f"{self.url}/token",
            "device_endpoint": f"{self.url}/device",
            "client_id": CLIENT_ID,
            "client_secret": secret,
            "scope": "pop offline_access",
            "refresh_token": Secret("refresh-0"),
            "trust": Trust(ca_file=self.ca_file),
            "spool": spool,
        }
        return OAuth2Client(**(values | more))  # type: ignore[arg-type]

    def answer(self, path: str, form: dict[str, str]) -> Reply:
        with self.lock:
            self.forms.append(form)
            if self.replies:
                return self.replies.popleft()
            if path == "/device":
                return self._device_code()
            if form.get("grant_type") == "refresh_token" and form.get("refresh_token") != self.good_refresh_token:
                return refusal("invalid_grant", "Token has been expired or revoked.")
            return self._tokens(form)

    def _device_code(self) -> Reply:
        body = {
            "device_code": "device-code",
            "user_code": "WDJB-MJHT",
            "verification_uri": "https://login.example/device",
            "expires_in": 900,
            "interval": self.interval,
        }
        return Reply(body=json.dumps(body).encode())

    def _tokens(self, form: Mapping[str, str]) -> Reply:
        self.issued += 1
        body: dict[str, object] = {"token_type": "Bearer", "access_token": f"{self.prefix}access-{self.issued}"}
        if self.lifetime is not None:
            body["expires_in"] = self.lifetime
        if form.get("grant_type") != "client_credentials" and self.rotates:
            self.good_refresh_token = body["refresh_token"] = f"{self.prefix}refresh-{self.issued}"
        return Reply(body=json.dumps(body).encode())


@contextmanager
def provider(directory: Path) -> Iterator[Provider]:
    """A provider that runs for the length of the block; `directory` takes the CA's certificate."""
    authority = Authority(directory, "provider-ca")
    tls = authority.server("localhost")
    server = _Server(("127.0.0.1", 0), _Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    served = server.provider = Provider(server.server_address[1], authority.ca_file)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        served.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    provider: Provider

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests want."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout: ClassVar[float] = 5.0
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        form = dict(parse_qsl(self.rfile.read(length).decode("ascii"), strict_parsing=True))
        reply = self.server.provider.answer(self.path, form)
        if reply.silent:
            self.server.provider.released.wait(30)
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[: reply.cut])
        if reply.cut is not None:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""
