"""Keeps the state in two places and goes on with the best there is, whatever became of the other.

Everything here runs in the writer's thread. The rules:

- A save is acknowledged once the database has it and the copy beside it has it.
- On opening, the database is used when it is whole and not behind the copy. One that is damaged, cut,
  emptied, foreign, missing or behind is put aside under a name that says so, and a new one is made
  from the copy; without a copy from what the old one still gives, if its sum fits; else from nothing:
  reld never guesses. `damage` says it until a person says `relctl mend`.
- A database that cannot be reached now (disk full, read-only, broken, frozen) stays where it is: reld
  goes on with the copy, every save fails with the reason, and the next one tries again.
- To put back an older state on purpose, remove state.json too: the copy wins.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from reld import durable
from reld.errors import StoreError
from reld.store import aside, content, fresh, lane, salvage, schema, second
from reld.store.aside import Damage
from reld.store.content import Content
from reld.store.lane import Lane
from reld.store.salvage import Mended
from reld.store.trouble import Damaged, Newer, explain, explain_os, is_damage, is_damage_on_opening
from reld.store.trouble import kind as kind_of

log = logging.getLogger("reld.store")

_FROM_COPY = (
    "reld went on with the copy of its last save, nothing that was acknowledged is lost but history"
)
_FROM_REST = "no copy was left: reld went on with what could still be read in it"
_FROM_NOTHING = "no copy was left: reld knows nothing of what it did before"
_MEND = "to get back what can be read of the history, and to switch again: relctl mend"
"""What every damage ends with."""

Write = Callable[[sqlite3.Connection], None]


@dataclass(frozen=True, slots=True)
class _Copy:
    content: Content | None = None
    schema: int = 0


class Keeper:
    """`content`: what was saved last. `opened` changes with each database that is opened."""

    def __init__(self, path: Path, writer: Lane) -> None:
        self.path = path
        self.content = Content()
        self.damage: Damage | None = None
        self.opened = 0
        self._copy_at = path.with_suffix(".json")
        self._note_at = path.with_name("damage.json")
        self._lane = writer

    @property
    def told(self) -> str:
        """The damage for people; empty = none."""
        return f"{self.damage.text}; {_MEND}" if self.damage else ""

    def open(self) -> None:
        """Raises Newer; StoreError where nothing is known and nothing can be made."""
        self.damage = aside.read_note(self._note_at)
        copy = self._copy()
        try:
            self._open(copy)
        except Newer:
            raise
        except (StoreError, sqlite3.Error, OSError) as error:
            self._go_on_without(copy, error)

    def save(self, change: Callable[[Content], Content], rows: Write) -> None:
        """Content and rows together. Raises what keeps them from being saved."""
        if self._lane.connection is None:
            self._open(self._copy())
        after = change(self.content)
        after = replace(after, sequence=self.content.sequence + 1)
        try:
            self._commit(after, rows)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self._begin_anew(f"is damaged ({error})", _Copy(after, schema.VERSION))
            self._commit(after, rows)
        self.content = after
        second.write(self._copy_at, after)

    def told_more(self, text: str) -> None:
        """Adds to what is known of the damage. Raises OSError."""
        known = self.damage or Damage("")
        if text in known.text:  # reld ended before it was mended, and begins again
            return
        joined = "; ".join(part for part in (known.text, text) if part)
        self.damage = replace(known, text=joined)
        aside.write_note(self._note_at, self.damage)

    def mend(self) -> Mended:
        """Ends the damage: history comes back as far as it can be read.

        Raises sqlite3.Error, OSError, StoreError; it can be tried again.
        """
        self._usable_or_put_aside()
        connection = self._lane.connection
        if self.damage is None or connection is None:
            return Mended()
        backups = [Path(name) for name in self.damage.backups]
        found = salvage.history(connection, backups)
        durable.remove(self._note_at)
        self.damage = None
        return found

    def newest_rollout(self) -> int:
        """The highest number that any database of ours, also one put aside, tells of; 0: none."""
        return salvage.newest_rollout([self.path, *aside.names(self.path, "damaged")])

    def _usable_or_put_aside(self) -> None:
        try:
            if self._lane.connection is None:
                self._open(self._copy())
            else:
                lane.check(self._lane.connection)
                content.check_history(self._lane.connection)
        except Damaged as error:
            self._begin_anew(error.message, self._known(self._copy()))
        except sqlite3.Error as error:
            # What is only busy, full or forbidden is left where it is.
            if not is_damage(error) and kind_of(error) != sqlite3.SQLITE_IOERR:
                raise
            self._begin_anew(f"cannot be read ({error})", self._known(self._copy()))

    def _open(self, copy: _Copy) -> None:
        """Connects to the database, or to a new one in its place.

        Raises what keeps any from being used now; then there is no connection.
        """
        try:
            found = self._look(copy)
        except Damaged as error:
            self._begin_anew(error.message, copy)
            return
        except sqlite3.Error as error:
            self._lane.disconnect()
            if not is_damage_on_opening(error, self.path):
                raise
            self._begin_anew(f"is damaged ({error})", copy)
            return
        except BaseException:
            self._lane.disconnect()
            raise
        self._use(found, copy)

    def _look(self, copy: _Copy) -> Content:
        if not os.path.lexists(self.path) and copy.schema:
            raise Damaged("is missing")
        for side in ("", *aside.SIDES):
            _must_be_a_file(self.path.with_name(self.path.name + side))
        lane.create_private(self.path)
        connection = self._lane.connect()
        lane.for_writing(connection)
        lane.check(connection)
        was = schema.version(connection)
        if was > schema.VERSION:
            # A newer reld writes the copy anew as soon as it has migrated.
            raise Damaged("is damaged (its schema)") if copy.content else schema.newer(was)
        if 0 < was < schema.VERSION:
            fresh.back_up(connection, self.path, was)
        lane.transaction(connection, lambda: fresh.migrate(connection, was))
        found = content.read(connection)
        content.check_history(connection)
        # A database of an older schema than the copy was put back by a person.
        if copy.content and was in (0, schema.VERSION) and found.sequence < copy.content.sequence:
            known = copy.content.sequence
            raise Damaged(f"is damaged (it ends with save {found.sequence}, there were {known})")
        return found

    def _use(self, found: Content, copy: _Copy) -> None:
        self.content = found
        self.opened += 1
        if found != copy.content:
            try:
                second.write(self._copy_at, found)
            except OSError as error:  # the next save writes it, or says so
                log.warning("cannot write %s: %s", self._copy_at, error)

    def _begin_anew(self, why: str, copy: _Copy) -> None:
        """Puts the database aside and makes a new one from the best that is known.

        Raises sqlite3.Error or OSError; done again from the start it comes to the same end.
        """
        self._lane.disconnect()
        copy = self._known(copy)
        if copy.schema > schema.VERSION:
            raise schema.newer(copy.schema)
        before = self.damage.backups if self.damage else ()
        what, backups = f"{self.path} {why}", before
        if os.path.lexists(self.path):
            backup = aside.free_name(self.path, "damaged")
            what, backups = f"{what} and is kept as {backup}", (*before, str(backup))
            self._note(Damage(what, backups))
            aside.put_aside(self.path, backup)
        elif self.damage:  # reld ended between putting it aside and making the new one
            what = self.damage.text.partition(";")[0]
        best, how = copy.content, _FROM_COPY
        if best is None:
            best = salvage.content(Path(backups[-1])) if backups else None
            how = _FROM_REST if best else _FROM_NOTHING
        fresh.make(self.path, best or Content())
        self._use(self._look(_Copy()), copy)
        self._note(Damage(f"{what}; {how}", backups))

    def _known(self, copy: _Copy) -> _Copy:
        """What this reld remembers counts as a copy."""
        mine = self.content
        older = copy.content is None or copy.content.sequence < mine.sequence
        return _Copy(mine, schema.VERSION) if mine.state and older else copy

    def _note(self, damage: Damage) -> None:
        self.damage = damage
        log.error("%s", damage.text)
        aside.write_note(self._note_at, damage)

    def _commit(self, after: Content, rows: Write) -> None:
        connection = self._lane.connection
        assert connection is not None

        def write() -> None:
            content.write(connection, self.content, after)
            rows(connection)

        lane.transaction(connection, write)

    def _copy(self) -> _Copy:
        try:
            found = second.read(self._copy_at)
        except Damaged as error:
            log.warning("the copy of the state cannot be used: %s", error.message)
            return _Copy()
        return _Copy() if found is None else _Copy(found.content, found.schema)

    def _go_on_without(self, copy: _Copy, error: Exception) -> None:
        """Nothing can be saved now; what is known is enough to serve, to look and to go back."""
        found = copy.content
        if found is None or found.state is None:
            found = salvage.content(self.path)
        if isinstance(error, sqlite3.Error):
            error = explain(error, self.path, "open the state")
        elif isinstance(error, OSError):
            error = explain_os(error, self.path, "open the state")
        if found is None or found.state is None:
            raise error
        log.error("%s; reld goes on with the copy of its last save", error)
        self.content = found


def _must_be_a_file(path: Path) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise Damaged(f"is no database ({path.name} is no file)")
