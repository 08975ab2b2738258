"""Errors of sync, named by what the caller does next."""


class SyncError(Exception):
    """Root of the tree; catch a subclass."""


class MalformedError(SyncError):
    """Bytes from outside do not follow the format: refuse them and name their sender."""


class ForgedError(SyncError):
    """A signature, hash or chain does not hold: refuse and report; never store."""


class ForkError(SyncError):
    """Two different segments carry one name: freeze that log, and only that log."""


class KeyMissingError(SyncError):
    """The body cannot be opened yet: keep it and try again when a grant arrives."""


class OwnershipError(SyncError):
    """A row claims what its writer does not own: park it with the reason."""


class RowError(SyncError):
    """A row of this node's own cannot be written: mend what made it; nothing was written."""
