"""Read what an answer holds, whatever its form: CSV or STIX, alone or as members of an archive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from tiforge import Permanent, Record, SetAside, Transient
from tiforge_mimecast.archive import damage_is_transient, members
from tiforge_mimecast.bundle import read_bundle
from tiforge_mimecast.objects import Objects
from tiforge_mimecast.rows import read_rows, shown
from tiforge_mimecast.sniff import Form, sniff

Item = list[Record] | SetAside
"""What one row or object of the feed becomes."""


class Content:
    """Reads answers.

    Args:
        objects: Builds the STIX objects.
        max_expanded: The most that an archive may expand to, in bytes.
    """

    def __init__(self, objects: Objects, *, max_expanded: int) -> None:
        self._objects = objects
        self._max_expanded = max_expanded

    def items(self, body: IO[bytes], form: Form, *, feed: str, whole: bool) -> Iterator[Item]:
        """Read an answer.

        Args:
            body: The file, at its start.
            form: What it is.
            feed: The feed's name.
            whole: Whether it is certain that the body is complete.

        Yields:
            Row by row, or object by object, what it becomes.

        Raises:
            Transient: It is damaged or cut short.
            Permanent: It is no feed, or breaks a limit.
        """
        if form is Form.ZIP:
            yield from self._members(body, feed)
        elif form is not Form.EMPTY:
            yield from self._file(body, form, feed=feed, where=feed, whole=whole)

    def _members(self, body: IO[bytes], feed: str) -> Iterator[Item]:
        strangers: list[SetAside] = []
        read = 0
        for name, member in members(body, max_expanded=self._max_expanded):
            where = f"{feed}, member {name}"
            with damage_is_transient():
                form = sniff(member)
                if form in (Form.JSON, Form.TEXT):
                    read += 1
                    # An archive vouches for its members by their checksums.
                    yield from self._file(member, form, feed=feed, where=where, whole=True)
                elif form is not Form.EMPTY:
                    strangers.append(SetAside(shown(member.read(2000)), f"The member is {form.value}.", where))
        if strangers and not read:
            raise Permanent(
                f"No member of the zip archive is a feed ({strangers[0].where}: {strangers[0].reason})"
            )
        yield from strangers

    def _file(self, body: IO[bytes], form: Form, *, feed: str, where: str, whole: bool) -> Iterator[Item]:
        if form is Form.JSON:
            yield from read_bundle(body, self._objects, where=where)
            return
        if form is not Form.TEXT:
            raise Transient(f"The answer is {form.value}, not a feed ({where}).")
        of_row = self._objects.of_row
        for row in read_rows(body, where=where, whole=whole):
            yield row if isinstance(row, SetAside) else of_row(row, feed)
