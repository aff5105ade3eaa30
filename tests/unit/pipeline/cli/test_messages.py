"""One message in full, and its bytes."""

from __future__ import annotations

from spool.envelope import Reason
from spool.layout import Stage
from spool.opening import Spool, take_stage
from spool.queue_id import QueueId
from spool.staging import Rejected
from tests.support.shell import Shell
from tests.support.spools import LETTER, admit, arrival, make_ready, message, staging

REASON = Reason(stage="submit", code=550, enhanced="5.7.1", text="no \x1b[31mspam")


def make_badmail(spool: Spool, content: bytes = LETTER, *, reason: Reason = REASON) -> QueueId:
    (receipt,) = admit(spool, arrival(content))
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        found = Rejected(
            message=message(spool, receipt.queue_id),
            reason=reason,
            recipients=("sales@corp.example",),
            subject="hello",
            sender="alice@example.org",
        )
        staged.settle([found])
    return receipt.queue_id


def test_cat_prints_the_message_as_the_provider_sent_it(shell: Shell, spool: Spool) -> None:
    content = b"Subject: odd\r\n\r\n\xff\x00 bare\n.\r\n"
    (receipt,) = admit(spool, arrival(content))
    assert shell.octets("spool", "cat", receipt.queue_id) == content


def test_cat_prints_a_badmail_message_without_its_block(shell: Shell, spool: Spool) -> None:
    assert shell.octets("badmail", "cat", make_badmail(spool)) == LETTER


def test_cat_raw_prints_the_whole_badmail_file(shell: Shell, spool: Spool) -> None:
    queue_id = make_badmail(spool)
    assert shell.octets("badmail", "cat", queue_id, "--raw") == spool.layout.badmail_message(queue_id).read_bytes()


def test_cat_raw_puts_the_injected_block_before_a_message_of_the_spool(shell: Shell, spool: Spool) -> None:
    (receipt,) = admit(spool, arrival())
    raw = shell.octets("spool", "cat", receipt.queue_id, "--raw")
    assert raw.endswith(LETTER)
    assert f"X-POP3Connector-Queue-Id: {receipt.queue_id}".encode() in raw.removesuffix(LETTER)


def test_show_tells_what_happened_to_a_message(shell: Shell, spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())
    shown = "\n".join(shell.lines("spool", "show", queue_id))
    assert "in custody" in shown
    assert "ready, from <alice@example.org>" in shown


def facts(shell: Shell, *arguments: str) -> dict[str, str]:
    """The lines of a command that prints names and values."""
    parted = (line.partition("  ") for line in shell.octets(*arguments).decode().splitlines())
    return {name: value.strip() for name, _, value in parted}


def test_show_gives_the_main_fields_of_the_header_decoded_and_safe(shell: Shell, spool: Spool) -> None:
    content = (
        b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: a@b.example,\r\n c@d.example\r\n"
        b"Subject: \x1b[2Jhello\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n"
    )
    (receipt,) = admit(spool, arrival(content))
    refused = make_badmail(spool, content + b"refused")
    for words, queue_id in (("spool", receipt.queue_id), ("badmail", refused)):
        said = facts(shell, words, "show", queue_id)
        assert (said["From"], said["To"]) == ("Jürgen <j@example.org>", "a@b.example, c@d.example")
        assert (said["Subject"], said["Message-ID"]) == (r"\x1b[2Jhello", "<1@example.org>")
        header = shell.object(words, "show", queue_id)["header"]
        assert header == {
            "from": "Jürgen <j@example.org>",
            "to": "a@b.example, c@d.example",
            "subject": r"\x1b[2Jhello",
            "date": "Thu, 1 Jan 2026 00:00:00 +0000",
            "message_id": "<1@example.org>",
        }


def test_show_works_where_the_bytes_are_gone(shell: Shell, spool: Spool) -> None:
    queue_id = make_badmail(spool)
    spool.layout.badmail_message(queue_id).unlink()
    assert facts(shell, "badmail", "show", queue_id)["id"] == queue_id
    assert shell.object("badmail", "show", queue_id)["header"] == dict.fromkeys(
        ("from", "to", "subject", "date", "message_id")
    )


def test_show_gives_the_reason_in_plain_words_and_in_the_servers_own(shell: Shell, spool: Spool) -> None:
    said = facts(shell, "badmail", "show", make_badmail(spool))
    assert (said["why"], said["reason"]) == (
        r"the relay refused it: 550 5.7.1 no \x1b[31mspam",
        r"submit: 550 5.7.1 no \x1b[31mspam",
    )


def test_a_message_that_is_elsewhere_is_not_shown_as_badmail(shell: Shell, spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())
    assert shell.failure("badmail", "show", queue_id) == (
        65,
        f"pop3connector: message {queue_id} is not in Badmail: it is ready, see `spool show`\n",
    )


def test_a_path_is_never_taken_for_a_queue_id(shell: Shell, spool: Spool) -> None:
    make_badmail(spool)
    for command in (("spool", "show"), ("spool", "cat"), ("badmail", "cat"), ("badmail", "replay")):
        assert shell.failure(*command, "../../etc/passwd") == (
            64,
            "pop3connector: not a queue id: '../../etc/passwd'\n",
        )


def test_an_unknown_queue_id_is_a_data_error(shell: Shell, spool: Spool) -> None:
    assert shell.failure("spool", "show", "0" * 18) == (65, f"pop3connector: no message {'0' * 18}\n")
