"""What stands behind TLS on a connection between a school and the hub, as the hub can read it."""

from sync.exchange.framing import FrameReader
from sync.exchange.message import Message
from sync.exchange.message_packing import MessagePacking
from sync.exchange.segment_packing import FindKey


class Wiretap:
    """Follows both directions of one connection, "up" and "down", from their first byte on."""

    def __init__(self, find_key: FindKey) -> None:
        self.heard = b""
        """Every byte that was carried, one direction's between the other's."""
        self.messages: list[Message] = []
        self._frames = {"up": FrameReader(), "down": FrameReader()}
        self._speakers = {"up": MessagePacking(find_key), "down": MessagePacking(find_key)}

    def hear(self, direction: str, data: bytes) -> None:
        speaker = self._speakers[direction]
        listener = self._speakers["down" if direction == "up" else "up"]
        self.heard += data
        for packed in self._frames[direction].feed(data):
            if packed:
                message = listener.unpack(packed)
                speaker.pack(message)  # what answers leave out is what was sent
                self.messages.append(message)
