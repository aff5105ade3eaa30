"""Send one form to an endpoint of an OAuth 2.0 provider, and return its answer.

**Invariants:** one request, one answer, one time limit for all of it. TLS is checked as everywhere else. A redirect is
never followed: the form holds secrets, and they are for this host alone. At most 64 KiB of an answer are read.

**Failures:** `EndpointFailed` (try later), with nothing of the answer's content in its text.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import h11

from spool.safe_text import safe_text
from stages.errors import NetworkError, TryLater
from stages.stream import Stream, TlsSettings
from stages.trust import Trust

TIMEOUT_SECONDS = 15.0
MAX_ANSWER_OCTETS = 64 * 1024
_MAX_HEADER_OCTETS = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the provider answered at `url`; `location` is where it would send us."""

    url: str
    status: int
    body: bytes
    location: str = ""


class EndpointFailed(TryLater):
    """The endpoint could not be reached, or gave no answer that makes sense."""


def post(url: str, form: str, *, trust: Trust, timeout: float = TIMEOUT_SECONDS) -> Answer:
    """Post `form`, encoded already, and wait `timeout` seconds at most; for a thread without an event loop."""
    parts = urlsplit(url)
    try:
        head, body = asyncio.run(_exchange(parts, form.encode("ascii"), trust=trust, timeout=timeout))
    except TimeoutError as error:
        raise EndpointFailed(f"{parts.hostname} did not answer within {timeout:g} s") from error
    except NetworkError as error:
        raise EndpointFailed(f"{parts.hostname}: {error}") from error
    except h11.RemoteProtocolError as error:
        raise EndpointFailed(f"{parts.hostname}: no HTTP: {safe_text(str(error).encode(), 80)}") from error
    location = dict(head.headers).get(b"location", b"")
    return Answer(url=url, status=head.status_code, body=body, location=safe_text(location))


async def _exchange(url: SplitResult, form: bytes, *, trust: Trust, timeout: float) -> tuple[h11.Response, bytes]:
    host = url.hostname or ""
    is_tls = url.scheme == "https"
    async with asyncio.timeout(timeout):
        stream = await Stream.connect(
            host,
            url.port or (443 if is_tls else 80),
            tls=TlsSettings(server_name=host, trust=trust) if is_tls else None,
            timeout=timeout,
        )
        try:
            http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADER_OCTETS)
            await stream.write(_request(http, url, form=form), timeout=timeout)
            return await _answer(http, stream, timeout=timeout)
        finally:
            await stream.close()


def _request(http: h11.Connection, url: SplitResult, *, form: bytes) -> bytes:
    headers = [
        ("Host", url.netloc),
        ("User-Agent", "pop3connector"),
        ("Accept", "application/json"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Length", str(len(form))),
        ("Connection", "close"),
    ]
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    events = (h11.Request(method="POST", target=target, headers=headers), h11.Data(data=form), h11.EndOfMessage())
    return b"".join(http.send(event) or b"" for event in events)


async def _answer(http: h11.Connection, stream: Stream, *, timeout: float) -> tuple[h11.Response, bytes]:
    head: h11.Response | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        match event:
            case h11.NEED_DATA:
                http.receive_data(await stream.read(timeout=timeout))
            case h11.Response():
                head = event
            case h11.Data():
                body += event.data
                if len(body) > MAX_ANSWER_OCTETS:
                    raise NetworkError(f"an answer of more than {MAX_ANSWER_OCTETS} octets")
            case h11.EndOfMessage() if head is not None:
                return head, bytes(body)
            case h11.ConnectionClosed():
                raise NetworkError("the connection was closed before the answer")
            case _:
                pass  # an interim answer: the one that counts is still to come
