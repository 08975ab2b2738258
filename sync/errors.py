"""Errors of sync, named by what the caller does next."""


class SyncError(Exception):
    """Root of the tree; catch a subclass."""


class MalformedError(SyncError):
    """Bytes from outside do not follow the format: refuse them and name their sender."""


class ForgedError(SyncError):
    """A signature, hash or chain does not hold: refuse and report; never store."""


class RevokedError(SyncError):
    """A box says something after it was revoked: refuse it; what it wrote before stays."""


class ForkError(SyncError):
    """Two different segments carry one name: freeze that log, and only that log."""


class KeyMissingError(SyncError):
    """The body cannot be opened yet: keep it and try again when a grant arrives."""


class OwnershipError(SyncError):
    """A row claims what its writer does not own: park it with the reason."""


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


class NotYetError(SyncError):
    """Something a checkpoint needs is still under way: try again later; nothing is wrong."""
