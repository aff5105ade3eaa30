"""Sizes and lengths of time as people say them."""

from __future__ import annotations

from datetime import timedelta

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_LENGTHS = (("d", 86_400), ("h", 3_600), ("min", 60))


def in_units(octets: int) -> str:
    """Octets: `999 B`, `1.4 kB`, `120 MB`."""
    amount, unit = float(octets), 0
    while amount >= 999.5 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    digits = 1 if unit and amount < 9.95 else 0
    return f"{amount:.{digits}f} {_UNITS[unit]}"


def span(time: timedelta) -> str:
    """A length of time, in one unit: `40 s`, `12 min`, `3 h`, `8 d`."""
    seconds = max(int(time.total_seconds()), 0)
    for unit, length in _LENGTHS:
        # Two of a unit at least: "1 d" would be anything from one day to two.
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
