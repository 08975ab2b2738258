"""Errors of the hub's own set-up; each message names the thing, the fact and the remedy."""


class HubSetupError(Exception):
    """The hub cannot start or do as told as things stand: tell the administrator."""
