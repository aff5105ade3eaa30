"""Why a message is where it is, in words for somebody who does not know SMTP. The server's own words stay behind them.

**Invariants:** total on any reason; nothing that a server said is left out.
"""

from __future__ import annotations

import re
from functools import lru_cache

from spool.envelope import Reason

# Who or what a refusal is about, by the phase (`stages.smtp.replies.Phase`) that begins its text.
_ABOUT = {
    "MAIL FROM": "the sender",
    "RCPT TO": "a recipient",
    "DATA": "the message",
    "message content": "the message",
    "final dot": "the message",
    "connect": "us",
    "greeting": "us",
    "EHLO": "us",
    "STARTTLS": "us",
    "AUTH": "us",
}
_PHASE = re.compile(rf"({'|'.join(_ABOUT)}): ")
_BEFORE = re.compile(r"(expired after \d+ days|it stopped the session \d+ times while other mail passed); at last: ")
_OURS = {
    "validate": "refused before the relay saw it",
    "pickup": "the file in Pickup cannot be sent",
    "fetch": "too large",
    "spool": "damaged",
}


@lru_cache(maxsize=1024)
def in_plain_words(reason: Reason | None) -> str | None:
    """One line such as `the relay refused a recipient: 550 5.1.1 no such user`; None where there is no reason."""
    if reason is None:
        return None
    before, text = "", reason.text
    if match := _BEFORE.match(text):
        before, text = f"{match[1]}; at last ", text[match.end() :]
    if reason.code is not None:
        return before + _reply(reason, text)
    if reason.stage in _OURS:
        return f"{before}{_OURS[reason.stage]}: {text}"
    return before + text


def _reply(reason: Reason, text: str) -> str:
    match = _PHASE.match(text)
    about = _ABOUT[match[1]] if match else "it"
    code = reason.code or 0
    said = " ".join(part for part in (str(code), reason.enhanced, text[match.end() :] if match else text) if part)
    did = f"took {about}" if code < 400 else f"put {about} off" if code < 500 else f"refused {about}"
    return f"the relay {did}: {said}"
