"""Grants go ahead of what their keys seal: a peer that lacks one does not take the segment."""

from collections.abc import Mapping, Sequence

from sync.logs.log_state import LogState
from sync.node import Node
from sync.schema.model import Lane
from sync.segments.sealing import UNSEALED
from sync.segments.segment import LogName, parse_segment


class GrantsAhead:
    """The order of one message's segments; ``lacking`` are the logs of which its peer lacks some.

    A control log that the peer does not take is none of them, and so holds nothing up here.
    """

    def __init__(self, node: Node, lacking: Sequence[LogState]) -> None:
        self._node = node
        self._control: dict[tuple[int, str], list[LogState]] = {}
        for log in lacking:
            if log.name.lane is Lane.CONTROL:
                scope = log.name.origin, log.name.audience
                self._control.setdefault(scope, []).append(log)

    def first(
        self, name: LogName, log_id: int, wire: bytes, following: Mapping[int, int]
    ) -> tuple[int, bytes]:
        """Return the segment that goes next, with its log: this one, or one that grants its keys.

        ``following`` are the numbers of the next segments, by log.
        """
        if name.lane is Lane.CONTROL:
            return log_id, wire
        for log in self._control.get((name.origin, name.audience), ()):
            ahead = self._node.segment(log.id, following[log.id])
            if ahead is not None and self._grants(log, ahead, wire):
                return log.id, ahead
        return log_id, wire

    def _grants(self, log: LogState, ahead: bytes, wire: bytes) -> bool:
        """Tell whether a control segment, or one behind it, grants a key of another segment."""
        keys = {body.key_id for body in parse_segment(wire).header.bodies} - {UNSEALED}
        granted = self._node.last_grant(log.id, keys) if keys else 0
        return granted >= parse_segment(ahead).header.first_row
