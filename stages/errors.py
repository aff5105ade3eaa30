"""The errors of the stages, split by who must act.

::

    StageError
    |-- OurBug              we: a rule of the program was broken inside it
    |-- PeerBroke           the peer broke its protocol; says what was wrong and quotes what came
    |   `-- ProtocolViolation   the octets themselves do not follow the grammar of the protocol
    |-- PeerSaidNo          the peer understood and refused; quotes the reply
    |-- TryLater            nobody: the same may work later
    |   `-- NetworkError        the connection could not be made or kept (subclasses in stages.stream)
    `-- OperatorMustAct     the operator: the configuration cannot work as it is

Protocol packages derive their own from these. Every error is one line of text that is safe to show: what the peer
wrote passes through `safe_text` in the constructor, and no secret is ever part of one.
"""

from spool.safe_text import safe_text


class StageError(Exception):
    """Root of the tree; its text is one line an operator can read."""


class OurBug(StageError):
    """The program asked for something that its own rules forbid."""


class PeerBroke(StageError):
    """The peer broke the protocol: the connection is of no further use.

    `what` names the broken rule, `said` is what the peer sent, made safe.
    """

    def __init__(self, what: str, raw: bytes = b"") -> None:
        self.what = what
        self.said = safe_text(raw)
        super().__init__(f"{what}: {self.said}" if raw else what)


class ProtocolViolation(PeerBroke):
    """What arrived is not what the protocol's grammar allows at this point."""


class PeerSaidNo(StageError):
    """The peer refused what we asked.

    `doing` is what we asked for, `said` its answer made safe, `code` the answer's code where it had one ("550",
    "IN-USE").
    """

    def __init__(self, doing: str, raw: bytes, *, code: str | None = None) -> None:
        self.doing = doing
        self.said = safe_text(raw)
        self.code = code
        super().__init__(f"{doing}: {self.said}")


class TryLater(StageError):
    """Nothing is known to be wrong; the same may work later."""


class NetworkError(TryLater):
    """The connection could not be made or did not last."""


class OperatorMustAct(StageError):
    """The configuration cannot work as it stands; the text says which field and how to mend it."""
