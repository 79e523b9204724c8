"""What a Cypher text says, whatever its layout: the canonical form that names a query.

neuprint-python writes some texts in the order of Python sets, so that the same question reads
differently in every process; and its layout and comments may change with any release. Two texts
get one form only if they ask the same: what is inside quotes is never touched, and where the
meaning of an order cannot be told from the text, the order is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

# a list of whole numbers is one token: there are queries of ten thousand body ids
_TOKEN = re.compile(
    r"""
    (?P<gap>(?:[ \t\r\n\f\v]+|//[^\n\r]*|/\*.*?\*/)+)
    |(?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
    |(?P<quoted>`(?:``|[^`])*`)
    |(?P<word>[^\W\d]\w*)
    |(?P<number>\d+(?:,[ ]\d+)+|\d[\w.]*)
    |(?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WRITES = _words("CREATE MERGE SET DELETE DETACH REMOVE DROP FOREACH LOAD ALTER")
# few queries have any such word, and need a closer look
_MAY_WRITE = re.compile(rf"(?i)\b(?:{'|'.join(sorted(_WRITES))}|CALL)\b")
# what ends the items of a WITH
_CLAUSES = _WRITES | _words(
    "WHERE ORDER SKIP OFFSET LIMIT MATCH OPTIONAL UNWIND RETURN WITH CALL YIELD UNION USE"
)
_WRITING_PROCEDURE = re.compile(
    r"(?i)apoc\.(?:create|merge|refactor|periodic|trigger|atomic|load|import|export|lock"
    r"|nodes\.(?:delete|link|collapse)|cypher\.(?:do|run(?:Write|Schema|Many|File)))"
    r"|dbms\.|db\.(?:create|clear|index\.fulltext\.(?:create|drop))"
)
_TIMEBOXED = "apoc.cypher.runtimeboxed"
_ROI_LISTS = ("inputRois", "outputRois")
_LABELS = (
    "Neuron",
    "Segment",
    "Meta",
    "SynapseSet",
    "Synapse",
    "Cell",
    "ElementSet",
    "Element",
)


class Token(NamedTuple):
    """A piece of Cypher.

    Attributes
    ----------
    kind : str
        ``text``, ``quoted``, ``word``, ``number``, ``sign``, or ``gap`` for what has no meaning.
    value : str
        As it was written; a gap is one space.
    """

    kind: str
    value: str

    def says(self, *words: str) -> bool:
        """Whether it is one of these words, in any case."""
        return self.kind == "word" and self.value.upper() in words


_GAP = Token("gap", " ")
_COMMA = Token("sign", ",")


def tokens(cypher: str) -> list[Token]:
    """Cut a query into tokens; layout and comments become gaps.

    Parameters
    ----------
    cypher : str
        The query.

    Returns
    -------
    list of Token
        Without a gap at either end.

    Examples
    --------
    >>> [token.value for token in tokens("MATCH (n) // all of them")]
    ['MATCH', ' ', '(', 'n', ')']
    """
    found = []
    for match in _TOKEN.finditer(cypher):
        kind = str(match.lastgroup)
        found.append(_GAP if kind == "gap" else Token(kind, match.group()))
    while found and found[-1] is _GAP:
        found.pop()
    while found and found[0] is _GAP:
        del found[0]
    return found


def canonical(cypher: str) -> str:
    """Give the form of a query that does not depend on layout, comments and hash seeds.

    Runs of white space become one space and comments go; bare variables of a ``WITH`` are
    sorted; so are the ROI lists that ``NeuronCriteria`` writes, where the query only asks
    what is in them; and the query inside ``apoc.cypher.runTimeboxed("...")`` is treated alike.

    Parameters
    ----------
    cypher : str
        The query.

    Returns
    -------
    str
        Equal only for queries that ask the same; names differ by case, too.

    Examples
    --------
    >>> canonical('''
    ...     WITH m, n      // in the order of a set
    ...     RETURN  n.type
    ... ''')
    'WITH m, n RETURN n.type'
    >>> canonical("RETURN n.`aL(R)`") == canonical("RETURN n.`AL(R)`")
    False
    """
    found = tokens(cypher)
    if _TIMEBOXED in cypher.lower():
        found = [_inner(token) if boxed else token for token, boxed in _timeboxed(found)]
    found = _sorted_lists(found)
    return "".join(token.value for token in _sorted_with(found))


def is_timeboxed(cypher: str) -> bool:
    """Whether a query gives up after some time, and then answers with no rows.

    Examples
    --------
    >>> is_timeboxed('CALL apoc.cypher.runTimeboxed("MATCH (n) RETURN n", {}, 5000) YIELD value')
    True
    """
    # the name may stand in a text: only a call counts
    return _TIMEBOXED in cypher.lower() and any(boxed for _, boxed in _timeboxed(tokens(cypher)))


def is_write(cypher: str) -> bool:
    """Whether a query may change the database.

    Examples
    --------
    >>> is_write("MATCH (n) SET n.type = 'x'"), is_write("MATCH (n) RETURN n.set, 'SET'")
    (True, False)
    """
    if not _MAY_WRITE.search(cypher):
        return False
    found = [token for token in tokens(cypher) if token is not _GAP]
    for at, token in enumerate(found):
        before, after = (
            (found[at - 1].value if at else ""),
            found[at + 1].value if at + 1 < len(found) else "",
        )
        named = before.upper() in (".", ":", "$", "AS") or after in (":", ".", ",", ")")
        if token.says(*_WRITES) and not named:
            return True
        if token.says("CALL") and _WRITING_PROCEDURE.match(_name(found[at + 1 :])):
            return True
    if _TIMEBOXED not in cypher.lower():
        return False
    inner = (token for token, boxed in _timeboxed(found) if boxed)
    return any(is_write(token.value[1:-1]) for token in inner)


def rewritten(cypher: str, dataset: str) -> str:
    """Give the text that the server makes of a query: labels with the name of the dataset.

    It sends that text back with the answer (``debug``), so it need not be kept.

    Parameters
    ----------
    cypher : str
        As it was sent.
    dataset : str
        For instance ``"hemibrain:v1.2.1"``.

    Returns
    -------
    str

    Examples
    --------
    >>> rewritten("MATCH (n:Neuron)-[:SynapsesTo]->(m)", "hemibrain:v1.2.1")
    'MATCH (n:`hemibrain_Neuron`)-[:SynapsesTo]->(m)'
    """
    name = dataset.partition(":")[0]
    text = cypher.replace(":SynapsesTo", ":XSynapsesTo")
    for before in (":{}", ":`{}`"):
        for label in _LABELS:
            text = text.replace(before.format(label), f":`{name}_{label}`")
    return text.replace(":XSynapsesTo", ":SynapsesTo")


def _name(found: Sequence[Token]) -> str:
    """Give the dotted name that tokens begin with."""
    parts = []
    for token in found:
        if token.kind != "word" and token.value != ".":
            break
        parts.append(token.value)
    return "".join(parts)


def _timeboxed(found: Sequence[Token]) -> Iterator[tuple[Token, bool]]:
    """Give each token, and whether it is the text of a query that runs in a time box."""
    said = ""
    for token in found:
        yield token, token.kind == "text" and said.endswith(f"call{_TIMEBOXED}(")
        if token is not _GAP:
            said = (said + token.value.lower())[-64:]


def _inner(token: Token) -> Token:
    """Bring a query within quotes into its canonical form, where its text is plain."""
    quote, inside = token.value[0], token.value[1:-1]
    if set(re.findall(r"\\.", inside, re.DOTALL)) - {"\\\\", f"\\{quote}"}:
        # an escape may stand for a line end, which ends a comment
        return token
    plain = canonical(re.sub(r"\\(.)", r"\1", inside))
    escaped = plain.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    return Token("text", f"{quote}{escaped}{quote}")


def _closing(found: Sequence[Token], start: int) -> int:
    """Give the position after the items that begin at `start`: a clause, or a closing bracket."""
    depth = 0
    for at in range(start, len(found)):
        token = found[at]
        if token.kind == "sign":
            depth += (token.value in "([{") - (token.value in ")]}")
            if depth < 0 or token.value == ";":
                return at
        elif depth == 0 and token.says(*_CLAUSES) and not _is_operator(found, at):
            return at
    return len(found)


def _is_operator(found: Sequence[Token], at: int) -> bool:
    """Whether a word is part of an expression: ``STARTS WITH``, ``n.set``, ``:Match``."""
    before = [token for token in found[max(0, at - 2) : at] if token is not _GAP]
    return bool(before) and (before[-1].says("STARTS", "ENDS") or before[-1].value in (".", ":"))


def _items(found: Sequence[Token]) -> list[list[Token]]:
    """Cut tokens at the commas that are in no bracket; without gaps at the ends."""
    return [_trimmed(item) for item in _cut(found)]


def _cut(found: Sequence[Token]) -> list[list[Token]]:
    items: list[list[Token]] = [[]]
    depth = 0
    for token in found:
        if token.kind == "sign":
            depth += (token.value in "([{") - (token.value in ")]}")
        if token == _COMMA and depth == 0:
            items.append([])
        else:
            items[-1].append(token)
    return items


def _trimmed(found: list[Token]) -> list[Token]:
    start, end = 0, len(found)
    while start < end and found[start] is _GAP:
        start += 1
    while end > start and found[end - 1] is _GAP:
        end -= 1
    return found[start:end]


def _sorted_with(found: list[Token]) -> Iterator[Token]:
    """Sort the bare variables of each ``WITH``; all other items stay where they are."""
    if _projects_all(found):
        # the order of columns may be that of the variables
        yield from found
        return
    at = 0
    while at < len(found):
        yield found[at]
        at += 1
        if not found[at - 1].says("WITH") or _is_operator(found, at - 1):
            continue
        end = _closing(found, at)
        words = _trimmed(found[at:end])
        yield _GAP
        if words and words[0].says("DISTINCT"):
            yield from (words[0], _GAP)
            words = words[1:]
        yield from _joined(_with_sorted_names(_items(words)))
        if end < len(found):
            yield _GAP
        at = end


def _projects_all(found: Sequence[Token]) -> bool:
    meaning = [token for token in found if token is not _GAP]
    pairs = zip(meaning, meaning[1:], strict=False)
    return any(
        after.value == "*" and (token.says("WITH", "RETURN", "DISTINCT") or token == _COMMA)
        for token, after in pairs
    )


def _with_sorted_names(items: list[list[Token]]) -> list[list[Token]]:
    places = [at for at, item in enumerate(items) if len(item) == 1 and item[0].kind == "word"]
    names = sorted((items[at] for at in places), key=lambda item: item[0].value)
    for at, name in zip(places, names, strict=True):
        items[at] = name
    return items


def _joined(items: Iterable[list[Token]]) -> Iterator[Token]:
    for at, item in enumerate(items):
        if at:
            yield from (_COMMA, _GAP)
        yield from item


def _sorted_lists(found: list[Token]) -> list[Token]:
    """Sort the texts of the ROI lists, where a query only asks what is in them."""
    for name in _ROI_LISTS:
        ends = [at for at, token in enumerate(found) if _is_list_named(found, at, name)]
        if ends and _only_membership(found, name):
            for end in ends:
                found = _with_sorted_list(found, end)
    return found


def _is_list_named(found: Sequence[Token], at: int, name: str) -> bool:
    """Whether the token at `at` closes a list that gets that name."""
    if found[at].value != "]":
        return False
    after = [token for token in found[at + 1 : at + 5] if token is not _GAP]
    return len(after) >= 2 and after[0].says("AS") and after[1] == Token("word", name)


def _only_membership(found: Sequence[Token], name: str) -> bool:
    """Whether a list is only passed on, counted, or asked what is in it."""
    if _projects_all(found) or Token("quoted", f"`{name}`") in found:
        return False
    passed = set(_passed_on(found))
    places = [at for at, token in enumerate(found) if token == Token("word", name)]
    return all(at in passed or _is_asked(found, at) for at in places)


def _passed_on(found: Sequence[Token]) -> Iterator[int]:
    """Give the positions of the variables that a ``WITH`` passes on or names."""
    for start, token in enumerate(found):
        if not token.says("WITH") or _is_operator(found, start):
            continue
        end = _closing(found, start + 1)
        at = start + 1
        for item in _cut(found[start + 1 : end]):
            meaning = [at + i for i, one in enumerate(item) if one is not _GAP]
            if meaning and found[meaning[0]].says("DISTINCT"):
                del meaning[0]
            named = len(meaning) > 2 and found[meaning[-2]].says("AS")
            if named or len(meaning) == 1:
                yield meaning[-1]
            at += len(item) + 1


def _is_asked(found: Sequence[Token], at: int) -> bool:
    """Whether a list is counted, or asked what is in it, at this position."""
    before = [token for token in found[max(0, at - 4) : at] if token is not _GAP]
    after = next((token for token in found[at + 1 :] if token is not _GAP), Token("sign", ""))
    if before[-1:] and before[-1].says("IN"):
        # before WHERE or | it would be gone through in order
        return after.value in ("", ")", "}") or after.says("AND", "OR", *_CLAUSES - {"WHERE"})
    counted = [token.value.upper() for token in before[-2:]] == ["SIZE", "("]
    return counted and after.value == ")"


def _with_sorted_list(found: list[Token], end: int) -> list[Token]:
    start = end
    while start and found[start].value != "[":
        start -= 1
    items = _items(found[start + 1 : end])
    if not all(len(item) == 1 and item[0].kind == "text" for item in items):
        return found
    items.sort(key=lambda item: item[0].value)
    return [*found[: start + 1], *_joined(items), *found[end:]]
