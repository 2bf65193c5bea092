"""Read what an answer holds, whatever its form: CSV or STIX, alone or as members of an archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import IO

from tiforge import Permanent, Record, SetAside, Transient
from tiforge_mimecast.archive import damage_is_transient, members
from tiforge_mimecast.bundle import read_bundle
from tiforge_mimecast.objects import Objects
from tiforge_mimecast.rows import Recent, read_rows, shown
from tiforge_mimecast.sniff import Form, sniff

Item = list[Record] | SetAside
"""What one row or object of the feed becomes."""


class Content:
    """Reads answers.

    Args:
        objects: Builds the STIX objects.
        max_expanded: The most that an archive may expand to, in bytes.
        now: The clock, to know a time that lies in the future; without one, any time is taken.
    """

    def __init__(self, objects: Objects, *, max_expanded: int, now: Callable[[], datetime] | None = None) -> None:
        self._now = now
        self._objects = objects
        self._max_expanded = max_expanded
        self._cut: tuple[str, bytes] | None = None

    def items(self, body: IO[bytes], form: Form, *, feed: str) -> Iterator[Item]:
        """Read an answer.

        Args:
            body: The file, at its start.
            form: What it is.
            feed: The feed's name.

        Yields:
            Row by row, or object by object, what it becomes.

        Raises:
            Transient: It is damaged or cut short.
            Permanent: It is no feed, or breaks a limit.
        """
        if form is Form.ZIP:
            yield from self._members(body, feed)
        elif form is not Form.EMPTY:
            yield from self._file(body, form, feed=feed, where=feed, accept_cut=self._is_same_cut)

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
                    yield from self._file(member, form, feed=feed, where=where, accept_cut=_as_it_is)
                elif form is not Form.EMPTY:
                    strangers.append(SetAside(shown(member.read(2000)), f"The member is {form.value}.", where))
        if strangers and not read:
            raise Permanent(
                f"No member of the zip archive is a feed ({strangers[0].where}: {strangers[0].reason})"
            )
        yield from strangers

    def _file(
        self, body: IO[bytes], form: Form, *, feed: str, where: str, accept_cut: Callable[[str, bytes], bool]
    ) -> Iterator[Item]:
        recent = Recent(self._now() if self._now else None)
        if form is Form.JSON:
            yield from read_bundle(body, self._objects, where=where, recent=recent)
            return
        if form is not Form.TEXT:
            raise Transient(f"The answer is {form.value}, not a feed ({where}).")
        of_row = self._objects.of_row
        for row in read_rows(body, where=where, accept_cut=accept_cut, recent=recent):
            yield row if isinstance(row, SetAside) else of_row(row, feed)

    def _is_same_cut(self, where: str, raw: bytes) -> bool:
        # A body that was cut short on its way is whole when it is asked for again. One that ends the same way
        # twice ends like that, and must not hold up the feed.
        before, self._cut = self._cut, (where, raw)
        return before == self._cut


def _as_it_is(where: str, raw: bytes) -> bool:
    return True
