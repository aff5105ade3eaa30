"""Names that people type."""

from __future__ import annotations

from pipeline.cli.naming import perhaps


def test_a_name_that_is_nearly_known_is_suggested() -> None:
    assert perhaps("sales-ips", ["office", "sales-isp"]) == ": 'sales-isp' perhaps?"


def test_nothing_is_suggested_where_nothing_is_like_it() -> None:
    assert perhaps("sales-isp", ["office"]) == ""
