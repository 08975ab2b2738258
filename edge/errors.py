"""Errors of the box's own; each message names the thing, the fact and the remedy."""


class BoxSetupError(Exception):
    """The box cannot start or do as told as things stand: tell the school's IT."""


class DaemonAwayError(BoxSetupError):
    """No daemon answers on the box's folder: start it, or wait until it is back."""


class HubAwayError(BoxSetupError):
    """The hub does not answer, or not as a hub of this version would: try again later."""


class NotNowError(Exception):
    """What a person asked does not fit what stands: look at the page again."""
