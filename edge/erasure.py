"""Forgetting a person: what is there, the destruction of the key, and what proves it.

A person's name, card, guardian and code stand sealed under a key of that person's own, in every
copy of the school's records: at the box, at the hub, on USB sticks, in backups of each. The key
stands in the vault alone, and in the vault's one backup at the hub.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.box_store import BoxStore
from edge.errors import BoxSetupError
from edge.roster import Roster
from edge.vault_keeper import VaultKeeper
from sync.errors import ForgedError
from sync.logs.oplog import Row
from sync.persons.vault import StoredBackup
from sync.schema import TABLES
from sync.schema.model import Group
from sync.writer import Writer

HUB_S_MAX = 30.0
"""How long forgetting waits for the hub's word; the keeper goes on after it."""
_CELLS = ("name", "card", "guardian", "code")


@dataclass(frozen=True, slots=True)
class TableShare:
    """What one table holds of a person; ``texts`` are rows with free text about them."""

    table: str
    rows: int
    sealed_cells: int
    texts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasurePlan:
    """Whom and what forgetting would concern; ``name`` is None when it does not open."""

    person: int
    name: str | None
    cells: int
    opening: int
    tables: tuple[TableShare, ...]
    backup: bool
    kept_elsewhere: tuple[str, ...] = (
        "rows about the ordinal, without a name: they stay as statistics",
        "free texts that somebody wrote about them: sealed to the school, not under their key",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureProof:
    """What was checked; moments are Unix ms, ``complete_ms`` is None until the hub answers."""

    person: int
    opened_before: int
    open_now: int
    log_truncated: bool
    waits: bool
    hub: StoredBackup | None
    complete_ms: int | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureStanding:
    """One erasure; ``waits``: destroyed here, and the hub has not replaced its backup yet."""

    person: int
    at_ms: int
    complete_ms: int | None
    waits: bool


class Erasures:
    """Forgets persons, in the store's thread; after a crash it goes on where it was."""

    def __init__(
        self,
        store: BoxStore,
        roster: Roster,
        writer: Writer,
        keeper: VaultKeeper,
        now_ms: Callable[[], int],
    ) -> None:
        self._node = store.node
        self._vault = store.vault
        self._reader = store.reader
        self._roster = roster
        self._writer = writer
        self._keeper = keeper
        self._now_ms = now_ms

    async def plan(self, person: int | None, name: str | None) -> ErasurePlan:
        """Return what forgetting would do; nothing changes.

        Raises BoxSetupError for somebody unknown, forgotten already, or of a name not alone.
        """
        return await self._writer.call(self._plan, person, name)

    async def forget(self, person: int, who: str) -> ErasureProof:
        """Destroy a person's key for ever and have the hub's backup replaced.

        Raises BoxSetupError for somebody unknown. When the hub is away, the proof says so, and the
        rest is done when it is back.
        """
        opened_before, cells = await self._writer.call(self._destroy, person, who)
        detail = ""
        try:
            async with asyncio.timeout(HUB_S_MAX):
                await self._keeper.bring_up_to_date()
        except TimeoutError:
            detail = f"the hub did not answer within {HUB_S_MAX:.0f} s; the box goes on trying"
        except BoxSetupError as error:
            detail = str(error)
        return await self._writer.call(self._prove, person, opened_before, cells, detail)

    async def standings(self) -> list[ErasureStanding]:
        """Return all erasures, last first."""
        return await self._writer.call(self._standings)

    def finish_begun(self) -> None:
        """Write down erasures of which a crash left only the destroyed key; for the start."""
        told = {
            person
            for (person,) in self._reader.execute(
                "SELECT person FROM erasure WHERE school = ?", (self._node.origin,)
            )
        }
        for each in self._vault.erasing():
            if each.person not in told:
                self._write_down(each.person, each.asked_ms, each.who)

    def _plan(self, person: int | None, name: str | None) -> ErasurePlan:
        chosen = self._chosen(person, name)
        cells = self._cells(chosen)
        opening = self._open(chosen, cells)
        return ErasurePlan(
            person=chosen,
            name=opening.get("name"),
            cells=len(cells),
            opening=len(opening),
            tables=tuple(self._shares(chosen)),
            backup=self._vault.stored is not None,
        )

    def _chosen(self, person: int | None, name: str | None) -> int:
        if person is None:
            found = self._roster.find((name or "").strip())
            if not found:
                raise BoxSetupError("nobody of that name is in the roster; give the ordinal")
            if len(found) > 1:
                ordinals = ", ".join(map(str, found))
                raise BoxSetupError(
                    f"{len(found)} people have that name: give one of the ordinals {ordinals}"
                )
            return found[0]
        if person in self._vault.forgotten():
            raise BoxSetupError(
                f"person {person} is forgotten already; see: schoolnode forget --list"
            )
        if person not in self._vault.persons():
            raise BoxSetupError(f"nobody has the ordinal {person} here; look at the roster again")
        return person

    def _cells(self, person: int) -> dict[str, bytes]:
        row = self._reader.execute(
            f"SELECT {', '.join(_CELLS)} FROM person WHERE school = ? AND person = ?",  # noqa: S608 - constants
            (self._node.origin, person),
        ).fetchone()
        found = dict(zip(_CELLS, row, strict=True)) if row else {}
        return {column: cell for column, cell in found.items() if cell is not None}

    def _open(self, person: int, cells: dict[str, bytes]) -> dict[str, str]:
        opened = {}
        for column, cell in cells.items():
            try:
                opened[column] = self._vault.open(person, column, cell)
            except (KeyError, ForgedError):
                continue
        return opened

    def _shares(self, person: int) -> list[TableShare]:
        shares = []
        for table in TABLES:
            if "person" not in table.column_names:
                continue
            sealed = [name for name in _CELLS if table.name == "person"]
            texts = [
                column.name
                for column in table.columns
                if column.group in (Group.IDENTITY, Group.HEALTH) and column.type == "TEXT"
            ]
            counted = [
                "count(*)",
                " + ".join(f"count({name})" for name in sealed) or "0",
                f"count(coalesce({', '.join([*texts, 'NULL', 'NULL'])}))",
            ]
            row = self._reader.execute(
                f"SELECT {', '.join(counted)} FROM {table.name} WHERE school = ? AND person = ?",  # noqa: S608 - names are the schema's
                (self._node.origin, person),
            ).fetchone()
            if row[0]:
                shares.append(TableShare(table.name, *row))
        return shares

    def _destroy(self, person: int, who: str) -> tuple[int, dict[str, bytes]]:
        self._chosen(person, None)
        cells = self._cells(person)
        opened = len(self._open(person, cells))
        asked_ms = self._now_ms()
        self._vault.forget(person, asked_ms, who)
        self._roster.forget(person)
        self._write_down(person, asked_ms, who)
        return opened, cells

    def _write_down(self, person: int, asked_ms: int, who: str) -> None:
        """Tell the logs: a box rebuilt from them forgets this person again."""
        row = self._reader.execute(
            "SELECT kind FROM person WHERE school = ? AND person = ?", (self._node.origin, person)
        ).fetchone()
        gone: Row = {"person": person, "kind": row[0] if row else None, "deleted": 1}
        erasure: Row = {"at_ms": asked_ms, "person": person}
        audit: Row = {
            "at_ms": asked_ms,
            "who": who,
            "action": "forget",
            "subject": f"person {person}",
        }
        self._node.record_all(
            {
                "person": [gone],
                "enrolment": [{"person": person, "deleted": 1}],
                "erasure": [erasure],
                "audit_entry": [audit],
            }
        )

    def _prove(
        self, person: int, opened_before: int, cells: dict[str, bytes], detail: str
    ) -> ErasureProof:
        standing = next(each for each in self._standings() if each.person == person)
        return ErasureProof(
            person=person,
            opened_before=opened_before,
            open_now=len(self._open(person, cells)),
            log_truncated=self._node.truncate_wal(),
            waits=standing.waits,
            hub=None if standing.waits else self._vault.stored,
            complete_ms=standing.complete_ms,
            detail=detail,
        )

    def _standings(self) -> list[ErasureStanding]:
        waiting = {each.person: each for each in self._vault.erasing()}
        rows: Sequence[tuple[int, int, int | None]] = self._reader.execute(
            "SELECT person, min(at_ms), max(complete_ms) FROM erasure"
            " WHERE school = ? AND person IS NOT NULL GROUP BY person",
            (self._node.origin,),
        ).fetchall()
        listed = [
            ErasureStanding(
                person=person,
                at_ms=at_ms,
                complete_ms=None if person in waiting else complete_ms,
                waits=person in waiting,
            )
            for person, at_ms, complete_ms in rows
        ]
        return sorted(listed, key=lambda each: (-each.at_ms, each.person))
