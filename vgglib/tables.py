"""Tables of strings, as text for a terminal and as HTML for a notebook; the first row is the header."""

import re
from collections.abc import Sequence
from html import escape


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as aligned columns: text to the left, numbers to the right."""
    columns = list(zip(*rows, strict=True))
    right = [all(_is_number(cell) for cell in column[1:]) for column in columns]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def as_html(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as an HTML table, every cell escaped."""
    header, *body = rows
    right = [all(_is_number(row[n]) for row in body) for n in range(len(header))]
    lines = [_line(header, "th", right), *(_line(row, "td", right) for row in body)]
    return f"<table>{''.join(lines)}</table>"


class Table(list):
    """Rows of strings, the header first; prints as a table, and in a notebook as one."""

    def __str__(self) -> str:
        return as_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(self)


class Folded(dict):
    """Tables by title: in a notebook each behind a fold under its title, elsewhere one below the other."""

    def __repr__(self) -> str:
        return "\n\n".join(f"{title}\n{as_text(rows)}" for title, rows in self.items())

    def _repr_html_(self) -> str:
        return "".join(
            f"<details><summary>{escape(title)}</summary>{as_html(rows)}</details>" for title, rows in self.items()
        )


def _line(row: Sequence[str], tag: str, right: Sequence[bool]) -> str:
    sides = [' style="text-align: right"' if r else ' style="text-align: left"' for r in right]
    cells = [f"<{tag}{side}>{escape(cell)}</{tag}>" for cell, side in zip(row, sides, strict=True)]
    return f"<tr>{''.join(cells)}</tr>"


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[-+]?[\d,.]*( ?%)?", cell) is not None
