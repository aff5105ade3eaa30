"""Build the commands that we send; the only place where text becomes SMTP command octets.

**Invariants:** a command is one line; no CR, LF, NUL or control of an address or name reaches it, and no space, `<` or
`>` but those between the quotes of a quoted local part.

**Failures:** `OurBug` for an address that could carry a second command: `validate` lets none through, so it is
never a verdict on a message. `ValueError` for a name from the configuration that cannot be sent.
"""

import ipaddress
import re
from dataclasses import dataclass, field

from stages.errors import OurBug
from stages.secret import Secret
from stages.smtp.replies import Extensions, Phase

# What is in no address, quoted or not: controls, and what some software takes for a line end or a blank.
_NEVER = r"\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff"
# RFC 5321 section 4.1.2: between the quotes of a quoted local part space and angle brackets are ordinary characters.
_ADDRESS = re.compile(rf"""(?:"(?:[^"\\{_NEVER}]|\\[^{_NEVER}])*"@)?[^ <>{_NEVER}]*""")
_DOMAIN = re.compile(
    r"(?=.{1,255}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
# RFC 5321 section 4.5.3.1.4, and RFC 4954 section 4 for AUTH: the whole line.
_MAX_COMMAND_OCTETS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What the relay is told about a message, and what of its content a relay may not bear.

    `reverse_path` is "" for the null one; `octets` are those of the message we send; `overlong_line_octets` is 0 unless
    a line is longer than RFC 5322 allows.
    """

    reverse_path: str
    recipients: tuple[str, ...]
    octets: int
    eightbit: bool = False
    smtputf8: bool = False
    overlong_line_octets: int = 0
    has_nul: bool = False

    def __post_init__(self) -> None:
        """Refuse what validation must have stopped, before a connection is touched."""
        if not self.recipients or not all(self.recipients):
            raise OurBug("an envelope without recipients, or with an empty one")
        for address in (self.reverse_path, *self.recipients):
            if not _ADDRESS.fullmatch(address):
                raise OurBug(f"an address that validation should have stopped: {address!r}")
            if not address.isascii() and not self.smtputf8:
                raise OurBug(f"an address that needs SMTPUTF8 in an envelope that does not ask for it: {address!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One line to send, the phase its reply belongs to, and the form that a log may show.

    `response` is what of it no reply may repeat.
    """

    phase: Phase
    wire: bytes = field(repr=False)
    shown: str
    response: Secret | None = None


def helo_name(name: str) -> str:
    """Return the name with which we may introduce ourselves: a domain or an address literal (RFC 5321, 4.1.3)."""
    if _DOMAIN.fullmatch(name) or _is_address_literal(name):
        return name
    raise ValueError(f"neither a domain nor an address literal such as [192.0.2.1]: {name!r}")


def ehlo(name: str) -> Command:
    """Introduce ourselves and ask for the extensions."""
    return _command(Phase.HELLO, f"EHLO {helo_name(name)}")


def helo(name: str) -> Command:
    """Introduce ourselves to a server that knows no EHLO (RFC 5321 section 3.2)."""
    return _command(Phase.HELLO, f"HELO {helo_name(name)}")


def lhlo(name: str) -> Command:
    """Introduce ourselves to a server of LMTP (RFC 2033 section 4.1)."""
    return _command(Phase.HELLO, f"LHLO {helo_name(name)}")


def mail(envelope: Envelope, offered: Extensions) -> Command:
    """Give the reverse-path, with those parameters that the relay understands (RFC 1870, 6152, 6531)."""
    words = [f"MAIL FROM:<{envelope.reverse_path}>"]
    if offered.size_offered:
        words.append(f"SIZE={envelope.octets}")
    if envelope.eightbit and offered.eightbitmime:
        words.append("BODY=8BITMIME")
    if envelope.smtputf8 and offered.smtputf8:
        words.append("SMTPUTF8")
    return _command(Phase.MAIL, " ".join(words))


def rcpt(recipient: str) -> Command:
    """Give one recipient of an `Envelope`."""
    return _command(Phase.RCPT, f"RCPT TO:<{recipient}>")


def auth_alone(mechanism: str) -> Command:
    """RFC 4954 section 4: a login by SASL, the mechanism alone on the line."""
    return _command(Phase.AUTH, f"AUTH {mechanism}")


def auth_at_once(mechanism: str, initial: bytes) -> Command | None:
    """The same with an initial response, already encoded; None where that line would be too long."""
    command = _masked(f"AUTH {mechanism} ", initial or b"=")
    return command if len(command.wire) <= _MAX_COMMAND_OCTETS else None


def auth_response(line: bytes) -> Command:
    """Answer a challenge; `line` is encoded already."""
    return _masked("", line)


CANCEL = Command(phase=Phase.AUTH, wire=b"*\r\n", shown="*")  # RFC 4954 section 4: in place of a response
STARTTLS = Command(phase=Phase.STARTTLS, wire=b"STARTTLS\r\n", shown="STARTTLS")
DATA = Command(phase=Phase.DATA, wire=b"DATA\r\n", shown="DATA")
RSET = Command(phase=Phase.RESET, wire=b"RSET\r\n", shown="RSET")
QUIT = Command(phase=Phase.QUIT, wire=b"QUIT\r\n", shown="QUIT")


def _command(phase: Phase, line: str) -> Command:
    if "\r" in line or "\n" in line or "\0" in line:
        raise OurBug(f"a command that is more than one line: {line!r}")
    return Command(phase=phase, wire=line.encode("utf-8") + b"\r\n", shown=line)


def _masked(verb: str, response: bytes) -> Command:
    wire = verb.encode("ascii") + response + b"\r\n"
    return Command(phase=Phase.AUTH, wire=wire, shown=f"{verb}***", response=Secret(response.decode("ascii")))


def _is_address_literal(name: str) -> bool:
    if not (name.startswith("[") and name.endswith("]")):
        return False
    inside = name[1:-1]
    try:
        if inside[:5].upper() == "IPV6:":
            return ipaddress.IPv6Address(inside[5:]).scope_id is None
        ipaddress.IPv4Address(inside)
    except ValueError:
        return False
    return True
