"""What discovery refused, told once for each sender: a flood on the LAN must not fill the log."""

import logging
from ipaddress import IPv4Address

SENDERS_MAX = 64

_log = logging.getLogger(__name__)


class Refusals:
    def __init__(self, protocol: str) -> None:
        self._protocol = protocol
        self._told: set[IPv4Address] = set()

    def tell(self, sender: IPv4Address, reason: object) -> None:
        """Log the first refusal of a sender, of at most ``SENDERS_MAX`` senders."""
        if sender not in self._told and len(self._told) < SENDERS_MAX:
            self._told.add(sender)
            _log.warning("%s from %s: %s", self._protocol, sender, reason)
