"""Errors of joining and being known, named by what the caller does next."""

from enum import StrEnum


class ProvisioningError(Exception):
    """Root of the tree; catch a subclass."""


class MistypedCodeError(ProvisioningError):
    """The join code cannot be right as it stands: show what is wrong, let a person retype it."""


class UnreachableError(ProvisioningError):
    """The hub does not answer now: the code is not used up, try again later."""


class ProtocolError(ProvisioningError):
    """The bytes do not follow the protocol: drop them; the other side is broken or hostile."""


class ImpostorError(ProvisioningError):
    """Whoever answered does not belong to the district: no secret was sent, tell a person."""


class SetupError(ProvisioningError):
    """The local set-up is wrong (clock, folder, names): say the remedy."""


class IdentityMissingError(SetupError):
    """There is no identity in the folder yet: it has to be claimed first."""


class IdentityDamagedError(SetupError):
    """The identity's files are unreadable, too open, or do not belong together."""


class Refusal(StrEnum):
    """Why the hub says no; the value crosses the wire, the sentence is made where it is shown."""

    UNKNOWN_CODE = "unknown_code"  # no such invitation, or not its secret: never told apart
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    REUSED = "reused"
    KEY_TYPE = "key_type"
    TOO_MUCH = "too_much"
    MALFORMED = "malformed"
    BUSY = "busy"
    NO_CERTIFICATE = "no_certificate"
    NOT_A_BOX = "not_a_box"
    CERTIFICATE_EXPIRED = "certificate_expired"
    REVOKED = "revoked"


SENTENCES = {
    Refusal.UNKNOWN_CODE: "the hub does not know this join code; check it, or ask for a new one",
    Refusal.EXPIRED: "this join code has expired; ask the district for a new one",
    Refusal.WITHDRAWN: "the district has withdrawn this join code; ask for a new one",
    Refusal.REUSED: (
        "this join code was already used by another box; ask for a new one, and tell the district "
        "if nobody at the school used it"
    ),
    Refusal.KEY_TYPE: "the request's key is of a kind the district does not certify; use P-256",
    Refusal.TOO_MUCH: "the request asks for more than a box may have; ask for less",
    Refusal.MALFORMED: "the request cannot be read; update the box's program",
    Refusal.BUSY: "too many wrong codes came from this address; wait a minute and try again",
    Refusal.NO_CERTIFICATE: "the connection shows no certificate; claim this box first",
    Refusal.NOT_A_BOX: "the certificate is not that of a box of this district; claim this box",
    Refusal.CERTIFICATE_EXPIRED: "the box's certificate has expired; claim the box again",
    Refusal.REVOKED: "the district has revoked this box; ask the district",
}


class RefusedError(ProvisioningError):
    """The hub understood and said no; ``reason`` says why, the text says what to do."""

    def __init__(self, reason: Refusal, detail: str = "") -> None:
        self.reason = reason
        sentence = SENTENCES[reason]
        super().__init__(f"{sentence} ({detail})" if detail else sentence)
