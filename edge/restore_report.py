"""What a restore is asked for, where it stands and what it brought."""

from dataclasses import dataclass, field
from enum import StrEnum

from sync.persons.recovery import RecoveryCode
from sync.persons.restore import Fetched, TableCompared


class Step(StrEnum):
    """Where a restore stands."""

    IDLE = "idle"
    CODE = "code"
    FETCH = "fetch"
    KEYS = "keys"
    VAULT = "vault"
    COMPARE = "compare"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreWish:
    """``older_vault``: take a backup that is older than erasures, which stay erased all the same.

    ``no_vault``: bring back everything but the names.
    """

    code: RecoveryCode
    who: str
    older_vault: bool = False
    no_vault: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultRestored:
    """What the vault's backup gave back; ``made_ms`` is the clock of the box that made it."""

    number: int
    generation: int
    made_ms: int
    added: int
    clashes: tuple[int, ...]


@dataclass(slots=True, kw_only=True)
class RestoreReport:
    """Where a restore stands and what it brought.

    ``unopened``: parts of the school's records that this code does not open. ``same_moment``:
    both ends held the same, so that digests had to agree.
    """

    step: Step = Step.IDLE
    begun_ms: int = 0
    ended_ms: int | None = None
    detail: str = ""
    fetched: Fetched = field(default_factory=lambda: Fetched(0, 0, 0, 0))
    keys: int = 0
    folded: int = 0
    unopened: int = 0
    vault: VaultRestored | None = None
    people: int = 0
    names: int = 0
    forgotten: int = 0
    same_moment: bool = False
    tables: tuple[TableCompared, ...] = ()
    other_boxes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        return self.same_moment and all(table.equal for table in self.tables)
