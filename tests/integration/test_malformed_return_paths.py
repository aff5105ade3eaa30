"""Malformed return paths cost only themselves: the mail behind them arrives in the first drain.

An Exchange server answers 501 to each and ends the session at the fifth (MaxProtocolErrors).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server
from pipeline.demo.smtp_sink import Part, Refusal, SinkRules, SmtpSink
from tests.support.connector import Connector, account, configure, letters, without_our_received

GOOD = letters(20, prefix="good")
LIKE_EXCHANGE = SinkRules(max_protocol_errors=5)


@contextmanager
def between(
    tmp_path: Path, messages: list[bytes], rules: SinkRules, **sections: dict[str, object]
) -> Iterator[tuple[Connector, Pop3Server, SmtpSink]]:
    """A maildrop with these messages, a relay with these rules, and the connector between them."""
    pop3, sink = Pop3Server({"sales": ("secret", messages)}), SmtpSink(rules)
    with serving(pop3), serving(sink):
        accounts = [account("sales", pop3.port)]
        yield configure(tmp_path, smtp_port=sink.port, accounts=accounts, **sections), pop3, sink


def malformed(count: int) -> list[bytes]:
    """What no rule can repair."""
    return list(letters(count, prefix="bad", sender="<not an address@@"))


def objectionable(count: int) -> list[bytes]:
    """Well-formed, and yet the relay answers 501."""
    return list(letters(count, prefix="bad", sender="odd@forged.example"))


@pytest.mark.parametrize("bad", [5, 50])
def test_good_mail_behind_malformed_return_paths_arrives_in_the_first_drain(tmp_path: Path, bad: int) -> None:
    with between(tmp_path, [*malformed(bad), *GOOD], LIKE_EXCHANGE) as (connector, pop3, sink):
        done = connector.drain()
        assert done.returncode == 0, done.stderr
        assert sorted(without_our_received(one.content) for one in sink.accepted) == sorted(GOOD)
        assert pop3.maildrop("sales") == []
        assert [reason["stage"] for reason in connector.reasons()] == ["validate"] * bad
        assert all("<not an address@@" in str(reason["text"]) for reason in connector.reasons())


@pytest.mark.parametrize("bad", [5, 50])
def test_good_mail_behind_senders_that_only_the_relay_objects_to_arrives_too(tmp_path: Path, bad: int) -> None:
    refusal = Refusal(part=Part.REVERSE_PATH, marker=b"forged.example", reply="501 5.1.7 Invalid address")
    rules = SinkRules(max_protocol_errors=5, refusals=(refusal,))
    with between(tmp_path, [*objectionable(bad), *GOOD], rules) as (connector, pop3, sink):
        done = connector.drain()
        assert done.returncode == 0, done.stderr
        assert sorted(without_our_received(one.content) for one in sink.accepted) == sorted(GOOD)
        assert pop3.maildrop("sales") == []
        said = {"stage": "submit", "code": 501, "enhanced": "5.1.7", "text": "MAIL FROM: Invalid address"}
        assert connector.reasons() == [said] * bad


def test_the_session_is_renewed_before_the_relay_ends_it(tmp_path: Path) -> None:
    """smtp.max_protocol_errors is 4, the relay's limit is 5."""
    refusal = Refusal(part=Part.REVERSE_PATH, marker=b"forged.example", reply="501 5.1.7 Invalid address")
    rules = SinkRules(max_protocol_errors=5, refusals=(refusal,))
    with between(tmp_path, objectionable(50), rules) as (connector, _, sink):
        assert connector.drain().returncode == 0
        assert max(connection.protocol_errors for connection in sink.connections) <= 4


def test_a_malformed_return_path_may_be_sent_with_the_null_reverse_path(tmp_path: Path) -> None:
    with between(tmp_path, malformed(5), LIKE_EXCHANGE, validate={"invalid_return_path": "null"}) as (
        connector,
        _,
        sink,
    ):
        assert connector.drain().returncode == 0
        assert [one.reverse_path for one in sink.accepted] == [""] * 5
        assert connector.badmail() == []
