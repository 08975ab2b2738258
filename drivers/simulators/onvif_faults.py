"""What a simulated camera refuses."""


class FaultError(Exception):
    """An operation's fault; ``subcode`` is ONVIF's word for it."""

    def __init__(self, subcode: str, reason: str) -> None:
        super().__init__(reason)
        self.subcode = subcode


class HungUpError(Exception):
    """The camera ends the connection instead of answering."""
