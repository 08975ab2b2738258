"""Errors of device work, named by what the caller does next."""

from enum import StrEnum


class Trouble(StrEnum):
    """Why a device is away, as far as it decides what a person does about it."""

    NONE = "none"
    LOST = "lost"  # its cable, port or address is gone
    SILENT = "silent"  # the line is there, and nothing comes back
    GARBLED = "garbled"  # something comes back that makes no sense
    REFUSED = "refused"  # it lets nobody in without the (right) password
    SETUP = "setup"  # something here keeps the box from asking


class DriverError(Exception):
    """Root of the tree; catch a subclass."""


class UnreachableError(DriverError):
    """The device or its link does not answer now: retry later with backoff."""


class RefusedError(DriverError):
    """The device answered and said no (exception reply, ERR3, 401): tell a person."""


class LoginRefusedError(RefusedError):
    """It lets nobody in with this password: no other way is tried with it, as devices lock out."""


class ProtocolError(DriverError):
    """The bytes do not follow the protocol: drop them, resynchronise, count them."""


class SetupError(DriverError):
    """The local set-up is wrong (missing port, no permission, port in use): say the remedy."""


def trouble_of(error: DriverError) -> Trouble:
    """Return what an error means for a device that was spoken to."""
    match error:
        case RefusedError():
            return Trouble.REFUSED
        case ProtocolError():
            return Trouble.GARBLED
        case SetupError():
            return Trouble.SETUP
        case _:
            return Trouble.LOST
