"""Partner schools' keys that a person at this school has confirmed.

The hub could name a box of its own making as a partner; what it cannot do is make a person here
confirm that box's key. Only confirmed keys are ever given a lesson.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from edge.acquaintances import Acquaintances
from edge.errors import BoxSetupError
from provisioning.durable_file import read_private, write_private
from sync.sealing import RecipientId, recipient_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """One box of another school; ``fingerprint`` is what two people compare by telephone."""

    school: int
    recipient: RecipientId
    fingerprint: str
    confirmed: bool


class Partners:
    """Keeps confirmations in one durable file: school number -> fingerprints.

    Blocking, for the store's thread.
    """

    def __init__(self, path: Path, acquaintances: Acquaintances) -> None:
        self._path = path
        self._acquaintances = acquaintances
        self._confirmed: dict[int, list[str]] = {}
        if path.exists():
            self._confirmed = _read(path)

    def of(self, school: int) -> list[Partner]:
        """Return the certified boxes of a school."""
        return [
            Partner(
                school=school,
                recipient=recipient_id(key),
                fingerprint=_fingerprint(key),
                confirmed=_fingerprint(key) in self._confirmed.get(school, []),
            )
            for key in self._acquaintances.sealing_keys(school)
        ]

    def confirmed_keys(self, school: int) -> list[X25519PublicKey]:
        confirmed = self._confirmed.get(school, [])
        return [
            key
            for key in self._acquaintances.sealing_keys(school)
            if _fingerprint(key) in confirmed
        ]

    def confirm(self, school: int, fingerprint: str) -> None:
        """Confirm one key of a school; raises BoxSetupError when the school has no such key."""
        wanted = fingerprint.replace(" ", "").lower()
        matching = [
            each.fingerprint
            for each in self.of(school)
            if each.fingerprint.replace(" ", "") == wanted
        ]
        if not matching:
            raise BoxSetupError(
                f"school {school} has no key {fingerprint}; compare it again with that school:"
                " schoolnode partners"
            )
        known = self._confirmed.get(school, [])
        if matching[0] not in known:
            confirmed = {**self._confirmed, school: [*known, matching[0]]}
            write_private(self._path, msgspec.json.encode(confirmed))
            self._confirmed = confirmed


def _read(path: Path) -> dict[int, list[str]]:
    try:
        return msgspec.json.decode(read_private(path), type=dict[int, list[str]])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BoxSetupError(
            f"{path}: {error}; restore it, or move it away and confirm the partners again"
        ) from error


def _fingerprint(key: X25519PublicKey) -> str:
    digits = recipient_id(key).hex()
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))
