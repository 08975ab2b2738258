"""Errors of device work, named by what the caller does next."""


class DriverError(Exception):
    """Root of the tree; catch a subclass."""


class UnreachableError(DriverError):
    """The device or its link does not answer now: retry later with backoff."""


class RefusedError(DriverError):
    """The device answered and said no (exception reply, ERR3, 401): tell a person."""


class ProtocolError(DriverError):
    """The bytes do not follow the protocol: drop them, resynchronise, count them."""


class SetupError(DriverError):
    """The local set-up is wrong (missing port, no permission, port in use): say the remedy."""
