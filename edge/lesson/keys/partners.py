"""Partner schools' keys that a person at this school has confirmed.

The hub could name a box of its own making as a partner; what it cannot do is make a person here
confirm that box's key. Only confirmed keys are ever given a lesson.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from edge.acquaintances import Acquaintances
from edge.errors import BoxSetupError
from provisioning.durable_file import read_private
from sync.errors import RecipientError
from sync.keys.recipients import RecipientKind, fingerprint
from sync.node import Node
from sync.segments.sealing import RecipientId, recipient_id

_log = logging.getLogger(__name__)
_FORMER_WHO = "partners.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """One box of another school; ``fingerprint`` is what two people compare by telephone."""

    school: int
    recipient: RecipientId
    fingerprint: str
    confirmed: bool


class Partners:
    """Certified boxes of other schools, and which of them are confirmed.

    Blocking, for the store's thread.
    """

    def __init__(self, node: Node, acquaintances: Acquaintances, former: Path) -> None:
        """``former`` is where confirmations stood once; it is taken up and removed."""
        self._node = node
        self._acquaintances = acquaintances
        if former.exists():
            self._take_up(former)

    def of(self, school: int) -> list[Partner]:
        """Return the certified boxes of a school."""
        confirmed = self._node.keys.confirmed(RecipientKind.PARTNER, school)
        return [
            Partner(
                school=school,
                recipient=recipient_id(key),
                fingerprint=fingerprint(key.public_bytes_raw()),
                confirmed=recipient_id(key) in confirmed,
            )
            for key in self._acquaintances.sealing_keys(school)
        ]

    def confirmed_keys(self, school: int) -> list[X25519PublicKey]:
        confirmed = self._node.keys.confirmed(RecipientKind.PARTNER, school)
        return [
            key
            for key in self._acquaintances.sealing_keys(school)
            if recipient_id(key) in confirmed
        ]

    def confirm(self, school: int, compared: str, who: str) -> None:
        """Confirm one key of a school; raises BoxSetupError when the school has no such key."""
        wanted = compared.replace(" ", "").lower()
        for key in self._acquaintances.sealing_keys(school):
            if fingerprint(key.public_bytes_raw()).replace(" ", "") == wanted:
                self._confirm(school, key, who)
                return
        raise BoxSetupError(
            f"school {school} has no key {compared}; compare it again with that school:"
            " schoolnode partners"
        )

    def _confirm(self, school: int, key: X25519PublicKey, who: str) -> None:
        public = key.public_bytes_raw()
        name = self._acquaintances.box_name(school, public) or f"school {school}"
        try:
            self._node.keys.confirm(RecipientKind.PARTNER, public, name, who, school)
        except RecipientError as error:
            raise BoxSetupError(str(error)) from error

    def _take_up(self, former: Path) -> None:
        for school, shown in _read(former).items():
            known = {each.replace(" ", "") for each in shown}
            for key in self._acquaintances.sealing_keys(school):
                if recipient_id(key).hex() in known:
                    self._confirm(school, key, _FORMER_WHO)
                    _log.info("school %d's key is confirmed still, from %s", school, former.name)
        former.unlink()


def _read(path: Path) -> dict[int, list[str]]:
    try:
        return msgspec.json.decode(read_private(path), type=dict[int, list[str]])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BoxSetupError(
            f"{path}: {error}; restore it, or move it away and confirm the partners again"
        ) from error
