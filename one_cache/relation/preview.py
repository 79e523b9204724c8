"""A relation as people see it: text in a terminal, a table in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from one_cache.relation.heading import Heading

Row = Sequence[Any]


def as_text(heading: Heading, rows: Sequence[Row], width: int, more: bool, total: int) -> str:
    """Give the first rows as text, key columns with a star.

    Parameters
    ----------
    heading : Heading
        The columns.
    rows : sequence of sequence
        Values to show.
    width : int
        Characters of a column at most; longer values are cut.
    more : bool
        Whether there are rows that are not shown.
    total : int
        How many rows there are.

    Returns
    -------
    str
        The last line is ``(Total: N)``.
    """
    lines: list[list[str]] = []
    for place, name in enumerate(heading.names):
        cells = [str(row[place]) for row in rows]
        wide = min(max(map(len, [name, *cells])) + 4, width)
        head = f"*{name}" if name in heading.primary_key else name
        rule = "+" + "-" * (wide - 2) + "+"
        lines.append([f"{cell[:wide]:{wide}}" for cell in (head, rule, *cells)])
    head, rule, *body = (" ".join(cells) for cells in zip(*lines, strict=True))
    dots = ["   ..."] if more else []
    return "\n".join([head, rule, "\n".join(body), *dots, f" (Total: {total})\n"])


def as_html(heading: Heading, rows: Sequence[Row], more: bool, total: int) -> str:
    """Give the first rows as a table, key columns in bold, comments and units below the names.

    Parameters are as in `as_text`.

    Returns
    -------
    str
        HTML; values are escaped.
    """
    head = "".join(_head(heading, name) for name in heading.names)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(value))}</td>' for value in row)}</tr>" for row in rows
    )
    dots = "<p>...</p>" if more else ""
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{dots}<p>Total: {total}</p>"
    )


def _head(heading: Heading, name: str) -> str:
    """Give the cell above a column."""
    label = escape(heading[name].label)
    title = f"<b>{escape(name)}</b>" if name in heading.primary_key else escape(name)
    return f"<th>{title}{f'<br><small>{label}</small>' if label else ''}</th>"
