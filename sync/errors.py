"""Errors of sync, named by what the caller does next, and reasons for what was set aside."""

from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Why something that came was not taken or not applied; pages have words for each."""

    MALFORMED = "malformed"
    FORGED = "forged"
    REVOKED = "revoked"
    FORKED = "forked"
    KEY_MISSING = "key-missing"
    NOT_OWNED = "not-owned"
    TABLE_UNKNOWN = "table-unknown"
    COLUMNS_UNKNOWN = "columns-unknown"
    CONFLICTING = "conflicting"  # with the rules of its table
    NOT_VERIFIED = "not-verified"  # a checkpoint
    NUMBER_TOO_HIGH = "number-too-high"  # a checkpoint's
    OTHER = "other"


class SyncError(Exception):
    """Root of the tree; catch a subclass."""

    reason: ClassVar[Reason] = Reason.OTHER


class MalformedError(SyncError):
    """Bytes from outside do not follow the format: refuse them and name their sender."""

    reason = Reason.MALFORMED


class ForgedError(SyncError):
    """A signature, hash or chain does not hold: refuse and report; never store."""

    reason = Reason.FORGED


class RevokedError(SyncError):
    """A box says something after it was revoked: refuse it; what it wrote before stays."""

    reason = Reason.REVOKED


class ForkError(SyncError):
    """Two different segments carry one name: freeze that log, and only that log."""

    reason = Reason.FORKED


class KeyMissingError(SyncError):
    """The body cannot be opened yet: keep it and try again when a grant arrives."""

    reason = Reason.KEY_MISSING


class OwnershipError(SyncError):
    """A row claims what its writer does not own: park it with the reason."""

    reason = Reason.NOT_OWNED


class UnknownTableError(OwnershipError):
    """Rows of a table that this version does not know: park them, an upgrade folds them."""

    reason = Reason.TABLE_UNKNOWN


class RowError(SyncError):
    """A row of this node's own cannot be written: mend what made it; nothing was written."""


class RecoveryCodeError(SyncError):
    """A recovery code was mistyped, or is not this school's present one: have it typed again."""


class StaleBackupError(SyncError):
    """A vault's backup is older than what the logs tell of: do not restore it unasked."""


class RecipientError(SyncError):
    """What was asked of keys or their recipients cannot be: tell the person; nothing was done."""


class CheckpointError(SyncError):
    """A checkpoint does not hold, or cannot be made: keep all bodies and tell a person why."""

    reason = Reason.NOT_VERIFIED


class NotYetError(SyncError):
    """Something a checkpoint needs is still under way: try again later; nothing is wrong."""


class RosterError(SyncError):
    """A roster cannot be read, or is not for this school: tell the person; nothing was taken."""


def reason_text(reason: Reason, details: str) -> str:
    """Return a reason as it is stored and sent: its code, then the facts in English."""
    return f"{reason}: {details}"


def reason_of(error: SyncError) -> str:
    return reason_text(error.reason, str(error))


def parse_reason(text: str) -> tuple[Reason, str]:
    """Split what :func:`reason_text` made; a text without a code is all facts of no known kind."""
    code, separator, details = text.partition(": ")
    if separator and code in set(Reason):
        return Reason(code), details
    return Reason.OTHER, text
