"""All values that columns could have, to be narrowed to those that occur."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from one_cache.relation.heading import Heading
from one_cache.tables.schema import quoted

if TYPE_CHECKING:
    from one_cache.relation.relation import Relation


class U:
    """All values that some columns could have: ``U("kind") & rows`` are those that occur.

    Parameters
    ----------
    *names : str
        Columns; none for a single row about everything.

    Examples
    --------
    >>> from one_cache.relation import Relation
    >>> rows = Relation([{"n": 1, "kind": "a"}, {"n": 2, "kind": "a"}], ["n"])
    >>> (U("kind") & rows).to_dicts(), U().aggr(rows, total="sum(n)").fetch1("total")
    ([{'kind': 'a'}], 3)
    """

    def __init__(self, *names: str) -> None:
        self.names = names

    def __and__(self, rows: Relation) -> Relation:
        heading = rows.heading.with_key(self.names)
        heading = Heading(heading.columns[: len(self.names)], heading.primary_key)
        items = ", ".join(map(quoted, self.names))
        sql = f"SELECT DISTINCT {items} FROM ({rows.query.sql})"
        return rows.derived(heading, replace(rows.query, sql=sql))

    def aggr(self, group: Relation, **named: str) -> Relation:
        """Compute over the rows of each combination of values.

        Parameters
        ----------
        group : Relation
            The rows.
        **named : str
            ``new="expression"``.

        Returns
        -------
        Relation
        """
        heading = group.heading.with_key(self.names)
        heading = Heading(heading.columns[: len(self.names)], heading.primary_key)
        query = replace(group.query, sql=f"({group.query.sql}) AS r")
        return group.grouped(heading, query, named)
