"""Where the hub keeps the schools' vault backups, and beside each the hub's share of its key.

One file a school each, replaced and never appended to. A new share is kept as pending until a
backup under it has arrived; then the former share and backup are overwritten. At no moment is a
school left with a backup whose share is gone.
"""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from hub.errors import HubSetupError
from provisioning.durable_file import private_folder
from sync.errors import ForgedError
from sync.persons.vault_backup import (
    SHARE_BYTES,
    ShelfState,
    VaultCopy,
    VaultReceipt,
    VaultShare,
    backup_digest,
    read_header,
)
from sync.segments.sealing import RandomBytes

STEP_MAX = 1 << 24
"""So far a generation or number may rise at once, so that one box does not use them up for all
that come after it; a hub that was set back lacks fewer."""
_DAY_MS = 24 * 3600 * 1000


class _Arrival(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    digest: bytes
    box: str
    at_ms: int


class _Shares(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``since_ms``: when the last older share went; ``stored_ms``: when, from which box it came.

    ``arriving`` is written ahead of a backup and is of what stands if that has its digest.
    """

    current: VaultShare | None = None
    pending: VaultShare | None = None
    since_ms: int = 0
    stored_ms: int = 0
    box: str = ""
    arriving: _Arrival | None = None


class VaultShelf:
    """Blocking; one thread at a time. ``kept_days``: how long the hub's own backups live."""

    def __init__(
        self, folder: Path, kept_days: int, now_ms: Callable[[], int], random_bytes: RandomBytes
    ) -> None:
        self._folder = folder
        self._kept_ms = kept_days * _DAY_MS
        self._now_ms = now_ms
        self._random_bytes = random_bytes

    def state(self, school: int) -> ShelfState:
        shares = self._shares(school)
        backup = self._backup(school)
        return ShelfState(
            generation=shares.current.generation if shares.current else 0,
            number=read_header(backup).number if backup else 0,
            digest=backup_digest(backup) if backup else b"",
            stored_ms=shares.stored_ms if backup else 0,
        )

    def share_after(self, school: int, after: int) -> VaultShare:
        """Return a share of a generation greater than ``after``: the current one, or a new one.

        A new one stays pending until a backup under it is stored, or another takes its place: it
        is given out once, since a backup under it, with keys forgotten since, may have been sent.
        Raises ForgedError for a generation that no box has seen.
        """
        shares = self._shares(school)
        if shares.current is not None and shares.current.generation > after:
            return shares.current
        former = max(held.generation if held else 0 for held in (shares.current, shares.pending))
        if after > former + STEP_MAX:
            raise ForgedError(f"share {after} is far above share {former}, the last of this school")
        fresh = VaultShare(max(after, former) + 1, self._random_bytes(SHARE_BYTES))
        self._write_shares(school, msgspec.structs.replace(shares, pending=fresh))
        return fresh

    def store(self, school: int, box: str, backup: bytes) -> VaultReceipt:
        """Let a backup take the place of the former one; return the receipt, not yet signed.

        The same box may seal one state of its vault twice, as after an answer that was lost.
        Raises MalformedError for what is no backup, ForgedError for another school's, one under a
        share that is gone, or one that is older than what is held.
        """
        header = read_header(backup)
        digest = backup_digest(backup)
        shares = self._shares(school)
        if header.school != school:
            raise ForgedError(f"this is school {header.school}'s vault, not school {school}'s")
        held = self._backup(school)
        if held is None or backup_digest(held) != digest:
            if held is not None and (
                header.number <= read_header(held).number - (box == shares.box)
            ):
                raise ForgedError(
                    f"vault backup {header.number} is not newer than number"
                    f" {read_header(held).number} of box {shares.box}: revoke the box that is"
                    " gone, and run schoolnode restore on the one that stays"
                )
            if header.number > (read_header(held).number if held else 0) + STEP_MAX:
                raise ForgedError(
                    f"vault backup {header.number} is far above what is held; refused"
                )
            known = [each.generation for each in (shares.current, shares.pending) if each]
            if header.generation not in known:
                raise ForgedError(
                    f"share {header.generation} of the vault's key is gone; seal it under a new one"
                )
            arrival = _Arrival(digest=digest, box=box, at_ms=self._now_ms())
            self._write_shares(school, msgspec.structs.replace(shares, arriving=arrival))
            _replace(self._path(school, "backup"), backup)
            shares = self._shares(school)
        return VaultReceipt(
            school=school,
            generation=header.generation,
            number=header.number,
            digest=digest,
            stored_ms=shares.stored_ms,
            clear_ms=shares.since_ms + self._kept_ms,
        )

    def copy(self, school: int) -> VaultCopy | None:
        """Return the backup with the share it needs, None when none was ever stored."""
        shares = self._shares(school)
        backup = self._backup(school)
        if backup is None or shares.current is None:
            return None
        return VaultCopy(backup, shares.current)

    def _settled(self, school: int, shares: _Shares, generation: int) -> _Shares:
        """Let the pending share be the current one once the backup is under it."""
        if shares.pending is None or shares.pending.generation != generation:
            return shares
        settled = msgspec.structs.replace(
            shares, current=shares.pending, pending=None, since_ms=self._now_ms()
        )
        self._write_shares(school, settled)
        return settled

    def _shares(self, school: int) -> _Shares:
        path = self._path(school, "shares")
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return _Shares()
        try:
            shares = msgspec.msgpack.decode(content, type=_Shares)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HubSetupError(f"{path}: damaged ({error}); restore it from a backup") from error
        backup = self._backup(school)
        if backup is None:
            return shares
        # A crash may have come between a backup's arrival and the end of the former share.
        arrival = shares.arriving
        if arrival is not None and arrival.digest == backup_digest(backup):
            shares = msgspec.structs.replace(
                shares, box=arrival.box, stored_ms=arrival.at_ms, arriving=None
            )
            self._write_shares(school, shares)
        return self._settled(school, shares, read_header(backup).generation)

    def _backup(self, school: int) -> bytes | None:
        try:
            return self._path(school, "backup").read_bytes()
        except FileNotFoundError:
            return None

    def _write_shares(self, school: int, shares: _Shares) -> None:
        _replace(self._path(school, "shares"), msgspec.msgpack.encode(shares))

    def _path(self, school: int, what: str) -> Path:
        return self._folder / f"{school}.{what}"


def _replace(path: Path, content: bytes) -> None:
    """Replace a file durably, mode 0600; the former bytes are overwritten where they lay.

    What a copy-on-write filesystem or a flash chip keeps aside of them is beyond a file.
    """
    private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        former = path.open("r+b")
    except FileNotFoundError:
        former = None
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    if former is not None:
        with former:
            former.write(bytes(os.fstat(former.fileno()).st_size))
            former.flush()
            os.fsync(former.fileno())
