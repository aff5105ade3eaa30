"""How a table stands in the width there is: which columns, how wide each; and its lines.

**Invariants:** pure. Every line takes at most the room there is, wide characters counted as two; where there is no
limit nothing is cut. A column that was left out does not come back further down.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from pipeline.cli.terminal import Style, columns, cut, filled, has_colours, painted

# What a cell is painted in, by the text that it shows.
Tint = Callable[[str], Style | None]
GAP = "  "
# As narrow as a cell may become before a spare column goes: less tells nobody anything.
_NARROW = 10
_NARROW_ELASTIC = 20
# And before a column goes that is not spare.
_NARROWEST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The places of the columns that are shown, and the width of each."""

    places: tuple[int, ...]
    widths: tuple[int, ...]


class Table:
    """A table that is printed page by page: it widens as longer cells come, as far as there is room."""

    def __init__(
        self,
        titles: Sequence[str],
        *,
        elastic: str,
        spare: Sequence[str] = (),
        right: Collection[str] = (),
        tints: Mapping[str, Tint] | None = None,
        room: int | None,
    ) -> None:
        self._titles = titles
        self._elastic = titles.index(elastic)
        self._spare = [titles.index(title) for title in spare]
        self._right = {titles.index(title) for title in right}
        self._tints = {titles.index(title): tint for title, tint in (tints or {}).items()}
        self._room = room
        self._natural = [columns(title) for title in titles]
        self._shape: Shape | None = None

    def page(self, cells: Sequence[Sequence[str]]) -> list[str]:
        """The lines of one page, whose columns of cells are given; above the first page stand the titles."""
        measured = [_Column.measure(column) for column in cells]
        self._natural = [max(width, column.width) for width, column in zip(self._natural, measured, strict=True)]
        before = self._shape
        self._shape = shape(
            self._natural,
            shown=before.places if before else range(len(self._titles)),
            elastic=self._elastic,
            spare=() if before else self._spare,
            room=self._room,
        )
        lines = self._lines(self._shape, measured, tints=self._tints)
        if before is not None:
            return lines
        bold = dict.fromkeys(range(len(self._titles)), _is_title)
        titles = [_Column.measure([title]) for title in self._titles]
        return self._lines(self._shape, titles, tints=bold) + lines

    def _lines(self, shape: Shape, cells: Sequence[_Column], *, tints: Mapping[int, Tint]) -> list[str]:
        forms, shown = [], []
        for place, width in zip(shape.places, shape.widths, strict=True):
            column = cells[place] if cells[place].width <= width else cells[place].cut(width)
            is_right = place in self._right
            # The last one needs no blanks behind it.
            room = 0 if place == shape.places[-1] and not is_right else width
            tint = tints.get(place) if has_colours() else None
            if tint is None and column.is_ascii:
                # A hundred thousand lines are wanted within a second.
                forms.append(f"%{'' if is_right else '-'}{room}s" if room else "%s")
                shown.append(column.texts)
            else:
                filled_up = [filled(text, room, to_the_right=is_right) for text in column.texts]
                forms.append("%s")
                whole = cells[place].texts
                shown.append(filled_up if tint is None else list(map(painted, filled_up, map(tint, whole))))
        return [line.rstrip() for line in map(GAP.join(forms).__mod__, zip(*shown, strict=True))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """The cells of one column on one page, and how wide the widest of them is."""

    texts: Sequence[str]
    is_ascii: bool
    width: int

    @classmethod
    def measure(cls, texts: Sequence[str]) -> _Column:
        is_ascii = "".join(texts).isascii()
        return cls(texts=texts, is_ascii=is_ascii, width=max(map(len if is_ascii else columns, texts), default=0))

    def cut(self, room: int) -> _Column:
        """The same in so many columns; an ellipsis is not ASCII."""
        return _Column(texts=[cut(text, room) for text in self.texts], is_ascii=False, width=room)


def shape(
    natural: Sequence[int], *, shown: Sequence[int], elastic: int, spare: Sequence[int], room: int | None
) -> Shape:
    """Which columns of these natural widths have a place, and how wide each is.

    The widest gives way first. Where all are as narrow as they may be, the spare columns go, in their order.
    """
    places = list(shown)
    if room is not None:
        for place in spare:
            if _excess([_narrow(natural, one, elastic=elastic, first=places[0]) for one in places], room) > 0:
                places.remove(place)
    widths = [natural[place] for place in places]
    if room is None or _excess(widths, room) <= 0:
        return Shape(places=tuple(places), widths=tuple(widths))
    widths = _narrowed(widths, [_narrow(natural, one, elastic=elastic, first=places[0]) for one in places], room=room)
    widths = _narrowed(widths, [widths[0], *(min(width, _NARROWEST) for width in widths[1:])], room=room)
    while _excess(widths, room) > 0 and len(widths) > 1:
        widths.pop()
    return Shape(places=tuple(places[: len(widths)]), widths=tuple(min(width, room) for width in widths))


def _narrow(natural: Sequence[int], place: int, *, elastic: int, first: int) -> int:
    if place == first:
        return natural[place]
    return min(natural[place], _NARROW_ELASTIC if place == elastic else _NARROW)


def _narrowed(widths: Sequence[int], floors: Sequence[int], *, room: int) -> list[int]:
    """The widths after the widest gave way, one column at a time, none below its floor."""
    found = list(widths)
    for _ in range(_excess(widths, room)):
        place = max((one for one in range(len(found)) if found[one] > floors[one]), key=found.__getitem__, default=None)
        if place is None:
            break
        found[place] -= 1
    return found


def _excess(widths: Sequence[int], room: int) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1) - room


def _is_title(_: str) -> Style:
    return Style.BOLD
