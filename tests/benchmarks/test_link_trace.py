"""What a capture is taken to say, on packets made here."""

import struct
from dataclasses import dataclass
from pathlib import Path

from benchmarks.link_trace import read_capture
from benchmarks.poor_link import Line, read_line

BOX, HUB = b"\x0a\x4d\x00\x01", b"\x0a\x4d\x00\x02"
SYN, ACK = 0x02, 0x10
HEADERS = 40


@dataclass(frozen=True)
class Sent:
    """A packet of one end; ``at`` is where in its stream the payload begins, 0 the first byte."""

    by: bytes
    at: int
    size: int
    flags: int = ACK
    port: int = 4000
    start: int = 900

    def packed(self) -> bytes:
        ports = (self.port, 443) if self.by == BOX else (443, self.port)
        seq = self.start if self.flags & SYN else self.start + 1 + self.at
        tcp = struct.pack("!HHIIBBHHH", *ports, seq % 2**32, 1, 5 << 4, self.flags, 0, 0, 0)
        other = HUB if self.by == BOX else BOX
        length = HEADERS + self.size
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 6, 0, self.by, other)
        return ip + tcp + bytes(self.size)


def capture(folder: Path, *packets: Sent) -> Path:
    path = folder / "line.pcap"
    with path.open("wb") as file:
        file.write(bytes(24))
        for packet in packets:
            data = packet.packed()
            file.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)
    return path


OPENING = (Sent(BOX, 0, 0, SYN), Sent(HUB, 0, 0, SYN | ACK), Sent(BOX, 0, 0))


def test_a_byte_sent_again_counts_on_the_line_and_once_in_the_stream(tmp_path: Path) -> None:
    again = Sent(BOX, 0, 1000)
    (flow,) = read_capture(capture(tmp_path, *OPENING, again, again, Sent(BOX, 1000, 50)))
    assert flow.up.stream_bytes == 1050
    assert flow.up.ip_bytes == 2050 + 5 * HEADERS
    assert (flow.down.packets, flow.down.stream_bytes) == (1, 0)


def test_handshakes_are_what_comes_before_the_marks(tmp_path: Path) -> None:
    packets = (
        *OPENING,
        Sent(BOX, 0, 300),
        Sent(HUB, 0, 1400),
        Sent(BOX, 300, 700),  # 500 are the handshake's, 200 the first message's
        Sent(HUB, 1400, 0),
        Sent(HUB, 1400, 60),
    )
    line = read_line(capture(tmp_path, *packets), up_mark=800, down_mark=1400)
    opening = (3 + 2) * HEADERS + 300 + 1400
    assert line == Line(
        ip_bytes=3 * HEADERS + 200 + 60,
        stream_bytes=200 + 60,
        handshake_ip_bytes=opening + 500,
        connections=1,
    )


def test_a_port_that_serves_again_is_another_connection(tmp_path: Path) -> None:
    first = (*OPENING, Sent(BOX, 0, 100))
    repeated = Sent(BOX, 0, 0, SYN, start=7000)
    flows = read_capture(
        capture(tmp_path, *first, repeated, repeated, Sent(BOX, 0, 30, start=7000))
    )
    assert [flow.up.stream_bytes for flow in flows] == [100, 30]
    assert flows[1].up.packets == 3, "a SYN sent again opens no connection"


def test_streams_go_on_past_the_end_of_the_sequence_numbers(tmp_path: Path) -> None:
    start = 2**32 - 500
    packets = (Sent(BOX, 0, 0, SYN, start=start), Sent(BOX, 0, 1000, start=start))
    (flow,) = read_capture(capture(tmp_path, *packets))
    assert flow.up.stream_bytes == 1000
