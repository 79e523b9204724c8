"""Paths with one ALF part changed: each call gives a new path and leaves the disk alone."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from operator import index
from typing import TYPE_CHECKING
from uuid import UUID

from one_cache.errors import ALFInvalid, InvalidArgument
from one_cache.spec.grammar import (
    SESSION_SPEC,
    fits,
    is_session_path,
    is_valid,
    regex,
)
from one_cache.spec.names import join_name, split_uuid
from one_cache.spec.parts import PathParts
from one_cache.spec.reading import filename_parts, read_folders

if TYPE_CHECKING:
    from typing_extensions import Self


class PathChanges(PathParts):
    """Gives paths that differ from this one in a part.

    A value that may not stand where it is to go raises
    :class:`~one_cache.errors.ALFInvalid`, and so does a path that lacks what is to be changed.

    Examples
    --------
    >>> from one_cache.spec import PurePosixALFPath
    >>> path = PurePosixALFPath("NYU-40/2021-04-12/1/alf/spikes.times.npy")
    >>> path.with_lab("wittenlab").with_sequence(2).with_collection("alf/probe00").as_posix()
    'wittenlab/Subjects/NYU-40/2021-04-12/002/alf/probe00/spikes.times.npy'
    >>> path.with_object("clusters").with_timescale("ephysClock").with_extra("raw").name
    'clusters.times_ephysClock.raw.npy'
    >>> path.with_object("spi.kes")
    Traceback (most recent call last):
    one_cache.errors.ALFInvalid: 'spi.kes' cannot be the object of 'spikes.times.npy'
    """

    def with_lab(self, lab: str, strict: bool = False) -> Self:
        """Change or add the lab.

        Parameters
        ----------
        lab : str
            Letters, digits, ``_`` and ``-``.
        strict : bool
            Change only: a path without a lab is refused.

        Returns
        -------
        path
        """
        _demand("lab", lab)
        found = self._session()
        if strict and found["lab"] is None:
            raise ALFInvalid(f"{str(self)!r} holds no lab")
        before, after = found.string[: found.start()], found.string[found.start("subject") :]
        return type(self)(f"{before}{lab}/Subjects/{after}")

    def with_subject(self, subject: str) -> Self:
        """Change the subject.

        Parameters
        ----------
        subject : str
            Letters, digits, ``_``, ``-`` and ``.``.

        Returns
        -------
        path
        """
        return self._with_session_part("subject", subject)

    def with_date(self, date: str | dt.date) -> Self:
        """Change the date.

        Parameters
        ----------
        date : str, datetime.date or datetime.datetime
            As a string, yyyy-mm-dd.

        Returns
        -------
        path
        """
        text = date if isinstance(date, str) else str(date)[:10]
        _demand("date", text)
        try:
            dt.date.fromisoformat(text)
        except ValueError as error:
            raise ALFInvalid(f"{text!r} is no date: {error}") from None
        return self._with_session_part("date", text)

    def with_sequence(self, number: int | str) -> Self:
        """Change the number of the session; it is padded to three digits.

        Parameters
        ----------
        number : int or str
            0 to 999.

        Returns
        -------
        path
        """
        try:
            value = int(number.strip()) if isinstance(number, str) else index(number)
        except (TypeError, ValueError):
            raise ALFInvalid(f"{number!r} is no number of a session") from None
        return self._with_session_part("number", f"{value:03d}")

    def _with_session_part(self, part: str, value: str) -> Self:
        _demand(part, value)
        found = self._session()
        before, after = found.string[: found.start(part)], found.string[found.end(part) :]
        return type(self)(before + value + after)

    def _session(self) -> re.Match[str]:
        found = regex(SESSION_SPEC).search(self.as_posix())
        if not found:
            raise ALFInvalid(f"{str(self)!r} holds no session, such as subject/2020-01-01/001")
        return found

    def with_collection(self, collection: str | None) -> Self:
        """Change or add the collection; revision and name stay.

        Parameters
        ----------
        collection : str or None
            One or more folders; slashes around them are dropped. An empty one is taken out.

        Returns
        -------
        path
        """
        if collection:
            collection = type(self)(collection).as_posix().strip("/")
            _demand("collection", collection)
        if is_session_path(self):
            return self / (collection or "")
        folder, revision = self._folder()
        session = self._session()
        name = None if folder is self else self.name
        tail = (collection, f"#{revision}#" if revision else None, name)
        return type(self)(session.string[: session.end()], *filter(None, tail))

    def with_revision(self, revision: str) -> Self:
        """Change or add the revision.

        Parameters
        ----------
        revision : str
            Without pound signs.

        Returns
        -------
        path
        """
        _demand("revision", revision)
        plain = self.without_revision()
        if is_valid(plain.name):
            return plain.parent / f"#{revision}#" / plain.name
        return plain / f"#{revision}#"

    def without_revision(self) -> Self:
        """Take the folder of the revision out, where there is one.

        Returns
        -------
        path
        """
        folder, revision = self._folder()
        if revision is None:
            return self
        return folder.parent if folder is self else folder.parent / self.name

    def _folder(self) -> tuple[Self, str | None]:
        """Give the folder of a dataset, or this path where it is a folder, and its revision."""
        folder = self.parent if is_valid(self.name) else self
        parts, whole = read_folders(folder.as_posix())
        # where the name does not say that it is a file, the disk may
        if not whole or (folder is self and not self.is_valid_alf()):
            raise ALFInvalid(f"{str(self)!r} is no ALF path with a session")
        return folder, parts["revision"]

    def with_object(self, obj: str) -> Self:
        """Change the object.

        Parameters
        ----------
        obj : str
            Letters and digits.

        Returns
        -------
        path
        """
        return self._with_name_part("object", obj)

    def with_namespace(self, ns: str | None) -> Self:
        """Change or add the namespace.

        Parameters
        ----------
        ns : str or None
            Letters and digits, without underscores; an empty one is taken out.

        Returns
        -------
        path
        """
        return self._with_name_part("namespace", ns)

    def with_attribute(self, attr: str) -> Self:
        """Change the attribute; the timescale stays.

        Parameters
        ----------
        attr : str
            Letters and digits.

        Returns
        -------
        path
        """
        return self._with_name_part("attribute", attr)

    def with_timescale(self, timescale: str | None) -> Self:
        """Change or add the timescale.

        Parameters
        ----------
        timescale : str or None
            Letters, digits and underscores; an empty one is taken out.

        Returns
        -------
        path
        """
        return self._with_name_part("timescale", timescale)

    def with_extra(self, extra: str | Iterable[str] | None, append: bool = False) -> Self:
        """Change or add extra parts.

        Parameters
        ----------
        extra : str, iterable of str or None
            One or more; empty ones are left out.
        append : bool
            Put them after those that there are; by default in their place.

        Returns
        -------
        path
        """
        parts = extra.strip(".").split(".") if isinstance(extra, str) else list(extra or ())
        if append:
            parts.insert(0, self.extra)
        return self._with_name_part("extra", ".".join(filter(None, parts)))

    def with_extension(self, ext: str) -> Self:
        """Change the extension.

        Parameters
        ----------
        ext : str
            Without the dot.

        Returns
        -------
        path
        """
        _demand("extension", ext)
        return self._with_name_part("extension", ext)

    def with_uuid(self, uuid: str | UUID, strict: bool = False) -> Self:
        """Put a UUID before the extension, as data servers do, in the place of one that is there.

        Parameters
        ----------
        uuid : str or UUID
            As text, in small letters and with hyphens.
        strict : bool
            Refuse a path that has another UUID.

        Returns
        -------
        path

        Raises
        ------
        InvalidArgument
            It is no UUID, or `strict` and the path has another one.
        """
        others, old = split_uuid(filename_parts(self.name, as_dict=True)["extra"])
        text = _uuid_text(uuid)
        if strict and old not in (None, text):
            raise InvalidArgument(f"{self.name!r} has another UUID than {text}")
        return self._with_name_part("extra", f"{others}.{text}" if others else text)

    def without_uuid(self) -> Self:
        """Take the UUID before the extension out, where there is one.

        Returns
        -------
        path
        """
        others, uuid = split_uuid(self.extra)
        return self if uuid is None else self._with_name_part("extra", others)

    def _with_name_part(self, part: str, value: str | None) -> Self:
        wanted = {**filename_parts(self.name, as_dict=True), part: value or None}
        name = join_name(wanted)
        # what is written must be read back as it was meant: no dot, no slash, no other part
        if filename_parts(name, as_dict=True, assert_valid=False) != wanted:
            raise ALFInvalid(f"{value!r} cannot be the {part} of {self.name!r}")
        return self.with_name(name)


def _demand(part: str, value: str | None) -> None:
    if not (isinstance(value, str) and fits(part, value)):
        raise ALFInvalid(f"{value!r} cannot be the {part} of an ALF path")


def _uuid_text(uuid: str | UUID) -> str:
    try:
        if str(UUID(str(uuid))) == str(uuid):
            return str(uuid)
    except ValueError:
        pass
    raise InvalidArgument(f"{uuid!r} is no UUID in small letters and with hyphens")
