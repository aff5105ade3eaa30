"""One request to a provider on loopback, and all that can come of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from threading import Thread

import pytest

from stages.oauth.endpoint import MAX_ANSWER_OCTETS, EndpointFailed, post
from stages.trust import Trust
from tests.support.processes import free_port
from tests.support.provider import Provider, Reply, provider

PATIENCE = 5.0
SHORT = 0.3


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Provider]:
    with provider(tmp_path) as found:
        yield found


def trust(served: Provider) -> Trust:
    return Trust(ca_file=served.ca_file)


@contextmanager
def raw(pieces: Iterable[bytes]) -> Iterator[str]:
    """A server without TLS that reads one request and answers these pieces, one at a time; its URL."""

    def answer(listener: socket.socket) -> None:
        with suppress(OSError), listener.accept()[0] as client:
            client.settimeout(PATIENCE)
            client.recv(4096)
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.01)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        thread = Thread(target=answer, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/token"
        finally:
            thread.join()


def failed(url: str, trust: Trust, *, timeout: float = PATIENCE) -> str:
    with pytest.raises(EndpointFailed) as error:
        post(url, "secret=hunter2", trust=trust, timeout=timeout)
    said = str(error.value)
    assert said.isprintable()
    assert "hunter2" not in said
    return said


def test_a_form_gets_its_answer(served: Provider) -> None:
    served.replies.append(Reply(status=400, body=b"{}", headers={"Location": "https://a.example/"}))
    answer = post(f"{served.url}/token", "a=1&b=%26+2", trust=trust(served))
    assert served.forms == [{"a": "1", "b": "& 2"}]
    assert (answer.status, answer.body, answer.location) == (400, b"{}", "https://a.example/")


def test_an_endpoint_of_an_unknown_ca_gets_no_secret(served: Provider) -> None:
    assert "no known CA" in failed(f"{served.url}/token", Trust())
    assert not served.forms


def test_an_endpoint_of_another_name_gets_no_secret(served: Provider) -> None:
    assert "the certificate is not for 127.0.0.1" in failed(f"https://127.0.0.1:{served.port}/token", trust(served))
    assert not served.forms


def test_a_redirect_is_told_and_not_followed(served: Provider) -> None:
    """The form holds secrets; they are for the host in the configuration."""
    served.replies.append(Reply(status=307, headers={"Location": f"{served.url}/elsewhere"}))
    assert post(f"{served.url}/token", "a=1", trust=trust(served)).status == 307
    assert len(served.forms) == 1


def test_a_silent_endpoint_is_given_up(served: Provider) -> None:
    served.replies.append(Reply(silent=True))
    began = time.monotonic()
    assert f"within {SHORT} s" in failed(f"{served.url}/token", trust(served), timeout=SHORT)
    assert time.monotonic() - began < PATIENCE


def test_an_answer_that_drips_has_one_time_limit_for_all_of_it() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"
    with raw([head, *repeat(b"x", 100)]) as url:
        failed(url, Trust(), timeout=SHORT)


def test_a_header_that_drips_has_it_too() -> None:
    with raw([b"HTTP/1.1 200 OK\r\n", *repeat(b"X-Pad: 1\r\n", 100)]) as url:
        failed(url, Trust(), timeout=SHORT)


def test_a_huge_answer_is_not_read(served: Provider) -> None:
    served.replies.append(Reply(body=b"x" * (MAX_ANSWER_OCTETS + 1)))
    assert f"more than {MAX_ANSWER_OCTETS} octets" in failed(f"{served.url}/token", trust(served))


def test_a_header_without_end_is_not_read() -> None:
    with raw([b"HTTP/1.1 200 OK\r\nX-Pad: ", *repeat(b"x" * 8192, 64)]) as url:
        failed(url, Trust())


@pytest.mark.parametrize(
    "garbage",
    [b"", b"220 mail.isp.example ESMTP\r\n", b"\0" * 100, b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"],
    ids=["nothing", "SMTP", "NUL", "a length that is none"],
)
def test_what_is_no_http_is_one_line(garbage: bytes) -> None:
    with raw([garbage]) as url:
        assert failed(url, Trust()).startswith("127.0.0.1: ")


def test_an_answer_that_is_cut_is_none(served: Provider) -> None:
    served.replies.append(Reply(body=b'{"access_token":"a"}', cut=10))
    failed(f"{served.url}/token", trust(served))


def test_an_interim_answer_is_not_the_answer() -> None:
    """RFC 9110 section 15.2."""
    with raw([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]) as url:
        assert post(url, "", trust=Trust()).body == b"{}"


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    with raw([b"HTTP/1.0 200 OK\r\n\r\n{", b"}"]) as url:
        assert post(url, "", trust=Trust()).body == b"{}"


def test_an_endpoint_that_is_not_there_says_so() -> None:
    port = free_port()
    assert failed(f"http://127.0.0.1:{port}/", Trust()) == (
        f"127.0.0.1: cannot connect to 127.0.0.1 port {port}: Connection refused"
    )
