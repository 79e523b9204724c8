"""An Alyx server: records from its REST interface, bytes from the data servers that it names.

It carries no whole tables to be taken over; it answers questions. Each is a kind of record and
terms, ``Question("insertions", {"eid": [...]})``; a term that is a list means any of it, and
``no_cache=True`` among the terms asks the server in any case.

====================  ======================================  ==================================
kind                  terms                                   rows
====================  ======================================  ==================================
``sessions``          ``id``; the search terms of ONE-api     ``Session``
``session-details``   ``id``                                  the server's own records
``datasets``          ``eid``, ``id``, ``tag``,               ``Dataset``; ``data_url`` and more
                      ``dataset_type``, ``name``              in `extra`
``aggregates``        ``relation``, ``identifier``            ``Dataset`` without a session;
                                                              both terms in `extra`
``insertions``        ``id``; the search terms of ONE-api,    ``id, eid, name, model, serial,
                      ``eid``, ``name``, ``dataset``          json, datasets, session``
``files``             ``dataset``                             ``id, dataset, repository,
                                                              rel_path, exists``
``notices``           ``dataset``                             ``id, name, description,
                                                              importance, datasets``
``subjects``          ``name``                                ``id, name, lab``
``revisions``         ``name``                                ``id, name, description``
``tags``              ``name``                                ``id, name, description,
                                                              protected, public, hash``
``dataset-types``     ``name``                                ``id, name, description,
                                                              filename_pattern``
``data-repository``   ``name``                                ``name, data_url, globus_path,
                                                              hostname, personal``
``search-terms``      ``table``: sessions or insertions       ``name``
``cache``             ``tag``                                 one: ``date_created, origin, tag,
                                                              tables, data_url``
====================  ======================================  ==================================

The row of ``cache`` has in `data_url` where a zip of whole tables lies, to be opened with
``File("cache.zip", url=...)``; None where the server has none of just that tag, and the records
of that tag are then to be asked for (``datasets`` by ``tag``, ``sessions`` by ``id``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from one_cache.records import File
from one_cache.remotes import Body, Listing, Question
from one_cache.remotes.alyx.client import AlyxClient
from one_cache.remotes.alyx.pages import Pages
from one_cache.remotes.alyx.questions import ANSWERS, Questions
from one_cache.remotes.alyx.search import INSERTION_TERMS, SESSION_TERMS
from one_cache.remotes.alyx.servers import DataServers
from one_cache.remotes.alyx.transport import Transport
from one_cache.responses import ResponseCache

__all__ = ["INSERTION_TERMS", "SESSION_TERMS", "AlyxClient", "AlyxRemote", "Pages", "is_alyx"]


class AlyxRemote:
    """Records of an Alyx server, and the files of the data servers that it names.

    Parameters
    ----------
    base_url : str
        Address of the Alyx server.
    username, password, token : str, optional
        Who asks; see :class:`AlyxClient`.
    data_username, data_password : str, optional
        For the data servers; otherwise from the settings file (under the data server's
        address), ONE-api's parameters, or the data repository's `json`.
    responses : ResponseCache, optional
        Where answers are kept; in memory when not given.

    Attributes
    ----------
    name : str
        Address of the server, without credentials.
    client : AlyxClient
        The REST interface, ``client.rest("sessions", "list", subject="KS014")``.

    Raises
    ------
    InvalidArgument
        Not an ``http`` or ``https`` address.
    """

    def __init__(
        self,
        base_url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        data_username: str | None = None,
        data_password: str | None = None,
        responses: ResponseCache | None = None,
    ) -> None:
        self.client = AlyxClient(
            base_url, username=username, password=password, token=token, responses=responses
        )
        self.name = self.client.name
        self.servers = DataServers(self.client, username=data_username, password=data_password)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def responses(self) -> ResponseCache:
        """Where answers are kept; may be set."""
        return self.client.responses

    @responses.setter
    def responses(self, value: ResponseCache) -> None:
        self.client.responses = value

    def tables(self) -> Sequence[Listing]:
        """Name no table: questions are answered one at a time."""
        return ()

    def records(self, question: Question) -> Sequence[Mapping[str, Any]] | None:
        """Answer a question with rows.

        Parameters
        ----------
        question : Question
            See the module's text for kinds and terms.

        Returns
        -------
        list of dict, or None
            None for a kind of which Alyx knows nothing. What does not exist gives no row.

        Raises
        ------
        InvalidArgument
            A term or value that the question does not take.
        RemoteError, Forbidden, TransferFailed
            See :meth:`AlyxClient.rest`.

        Warns
        -----
        CacheWarning
            The server is away, and old answers are given.
        """
        answer = ANSWERS.get(question.table)
        if answer is None:
            return None
        terms = {name: value for name, value in question.terms.items() if value is not None}
        no_cache = bool(terms.pop("no_cache", False))
        return answer(Questions(self.client, self.servers, no_cache=no_cache), terms)

    def open(self, file: File, start: int = 0, validator: str | None = None) -> Body:
        """Open `file` on the data server that holds it, at byte `start`.

        Parameters
        ----------
        file : File
            Its `url` is the record's ``data_url``. Without one the address is made from the
            data repositories, `path` and `id`.
        start, validator
            See :meth:`one_cache.remotes.Remote.open`.

        Returns
        -------
        Body

        Raises
        ------
        NotOnRemote, Forbidden, TransferFailed
            As the data server answers.
        """
        if file.url and file.url.startswith(f"{self.name}/cache"):
            # the one kind of file that the database gives itself, and wants the token for
            return self.client.open(file.url.removeprefix(self.name))
        return self.servers.open(file, start, validator)

    def url(self, file: File) -> str:
        """Give the address of `file`; nothing is asked.

        One without an address in its record has that of the dataset's record, until the data
        repositories are known.
        """
        known = self.servers.address(file)
        if known is not None:
            return known
        return f"{self.name}/datasets/{file.id}" if file.id else f"{self.name}/{quote(file.path)}"


def is_alyx(base_url: str, *, timeout: float = 10.0) -> bool:
    """Whether an Alyx server answers at an address: one request, without a login.

    Parameters
    ----------
    base_url : str
        Address.
    timeout : float
        Seconds to wait for the answer.

    Returns
    -------
    bool
        False for any other web server.

    Raises
    ------
    TransferFailed
        Nothing answers.
    """
    transport = Transport(base_url.rstrip("/"), timeout)
    with transport.send("GET", "/sessions", params={"limit": "1"}) as response:
        try:
            said: Any = response.json()
        except ValueError:
            return False
    if not isinstance(said, Mapping):
        return False
    refused = "credentials were not provided" in str(said.get("detail"))
    return {"count", "results"} <= set(said) or refused
