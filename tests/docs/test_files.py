"""What lies in the spool directory, and what the block before a message says."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spool.badmail import leading_block
from spool.envelope import Origin, Reason, Uidl
from spool.layout import Stage
from spool.locks import COMMANDS, INDEX, LOG, RUN
from spool.message_file import END, custody_fields
from spool.opening import OWNERS
from spool.queue_id import QueueId
from spool.rebuild import rebuild
from tests.docs.markdown import REFERENCE, code_of, rows, sections
from tests.docs.sample_spool import make_sample

TEXT = (REFERENCE / "files.md").read_text()
PAGE = sections(TEXT)
_TIME = datetime(2026, 1, 1, tzinfo=UTC)
_PLACEHOLDERS = {
    "<stage>": "|".join(Stage),
    "<serial>": r"\d{10}",
    "<queue id>": r"[0-9a-z]{18}",
    "<owner>": "|".join(OWNERS),
    "<account>": r"[\w.%~ -]+",
    "<number>": r"\d+",
    "<name>": r"[\w.-]+",
    "<time>": r"\d{8}T\d{6}Z",
    "<schema>": r"\w+",
    "<path>": ".+",
}


def paths(text: str) -> list[str]:
    return [path for row in rows(text) for path in code_of(row[0])]


def is_told(path: str, told: list[str]) -> bool:
    """Whether one of the paths of the page stands for this one."""
    patterns = [
        re.sub("<[a-z ]+>", lambda found: f"(?:{_PLACEHOLDERS[found[0]]})", re.escape(one).replace(r"\ ", " "))
        for one in told
    ]
    return any(re.fullmatch(pattern, path) for pattern in patterns)


def test_every_file_of_a_used_spool_is_on_the_page(tmp_path: Path) -> None:
    """Those too that the layout does not name: what SQLite makes, and what a rebuild keeps."""
    spool = make_sample(tmp_path)
    told = [*paths(TEXT.partition("\n## ")[0]), *paths(PAGE["Beside them"])]
    found = [path.relative_to(spool.layout.root).as_posix() for path in spool.layout.root.rglob("*")]
    spool.close()
    with spool.layout.segment(Stage.FETCH, 1).open("ab") as segment:
        segment.write(b"torn")
    rebuild(spool.layout.root)
    found += [path.relative_to(spool.layout.root).as_posix() for path in spool.layout.root.rglob("*") if path.is_file()]
    assert [path for path in found if not is_told(path, told) and not is_told(f"{path}/", told)] == []


@pytest.mark.parametrize("name", [RUN, COMMANDS, INDEX, LOG])
def test_a_lock_that_is_no_stages_is_none_that_the_page_leaves_out(name: str) -> None:
    (meaning,) = [row[1] for row in rows(TEXT) if row[0] == "`locks/<name>.lock`"]
    assert name.removesuffix("s") in meaning


def test_the_page_has_every_field_of_a_block_and_no_other(tmp_path: Path) -> None:
    origin = Origin(
        queue_id=QueueId("0" * 18), account="sales", uidl=Uidl(b"u"), peer="pop.isp.example", fetched_at=_TIME, copy=2
    )
    written = custody_fields(
        origin, octets=1, sha256=bytes(32), sender="", recipients=["a@b.example"], objection=Reason(stage="fetch")
    )
    spool = make_sample(tmp_path)
    filed = [field for path in spool.layout.badmail.glob("*.eml") for field in leading_block(path).fields]
    spool.close()
    assert set(paths(PAGE["The injected block"])) == {name for name, _ in (*written, *filed)} | {END}
