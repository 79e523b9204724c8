"""SQL text as users of DataJoint write it, made into SQL for the engine.

Both quote styles mean a text, and backticks a name, as in MySQL. Nothing is parsed beyond quotes
and parentheses: what the text means is the engine's business.
"""

from __future__ import annotations

import re

from one_cache.errors import InvalidArgument
from one_cache.tables.schema import literal, quoted

_QUOTED = re.compile(
    r"""'(?P<single>(?:[^'\\]|\\.|'')*)'|"(?P<double>(?:[^"\\]|\\.|"")*)"|`(?P<name>(?:[^`]|``)*)`""",
    re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z_]\w*")


def as_sql(text: str) -> str:
    """Give the text with its quotes as the engine reads them.

    Parameters
    ----------
    text : str
        A condition or an expression.

    Returns
    -------
    str
        Safe to put between parentheses.

    Raises
    ------
    InvalidArgument
        A quote or parenthesis is left open, or there is more than one expression.

    Examples
    --------
    >>> print(as_sql('trial_type = "ctrl" AND `order` < 5'))
    trial_type = 'ctrl' AND "order" < 5
    >>> as_sql("1) OR (1")
    Traceback (most recent call last):
    one_cache.errors.InvalidArgument: in '1) OR (1': a parenthesis is closed before it is opened
    """
    parts, bare, end = [], [], 0
    for match in _QUOTED.finditer(text):
        bare.append(text[end : match.start()])
        parts += [bare[-1], _requoted(match)]
        end = match.end()
    bare.append(text[end:])
    fault = _fault("".join(bare))
    if fault:
        raise InvalidArgument(f"in {text!r}: {fault}")
    return "".join([*parts, bare[-1]])


def names_in(text: str) -> set[str]:
    """Give the names that a text mentions, columns and functions alike.

    Parameters
    ----------
    text : str
        A condition or an expression.

    Returns
    -------
    set of str

    Examples
    --------
    >>> sorted(names_in("count(*) / trial_length + `n` = 'other'"))
    ['count', 'n', 'trial_length']
    """
    found = {match["name"] for match in _QUOTED.finditer(text) if match["name"] is not None}
    return found | set(_NAME.findall(_QUOTED.sub(" ", text)))


def _requoted(match: re.Match[str]) -> str:
    """Quote a text or a name anew."""
    if match["name"] is not None:
        return quoted(match["name"].replace("``", "`"))
    body = match["single"] if match["single"] is not None else match["double"]
    quote = match[0][0]
    body = body.replace(quote * 2, quote)
    # of MySQL's escapes those that keep a quote or a backslash; any other backslash is itself
    return literal(re.sub(r"\\(['\"\\])", r"\1", body))


def _fault(bare: str) -> str:
    """Say what is wrong with the text between the quotes; empty when nothing is."""
    depth = 0
    for sign in bare:
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if depth < 0:
            return "a parenthesis is closed before it is opened"
    if depth:
        return "a parenthesis is not closed"
    if any(quote in bare for quote in "'\"`"):
        return "a quote is not closed"
    if ";" in bare:
        return "one expression is allowed, and no ';'"
    if "?" in bare or re.search(r"\$\w", bare):
        return "placeholders have no value here; a mapping gives values safely"
    return ""
