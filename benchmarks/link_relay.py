"""The process between two TUN devices: takes packets from each end and brings them to the other.

Started by link.py with both devices open. Each line on standard input is an order, each line on
standard output the counts after it; at the end of input it ends. Packets that the ends sent are
written to a capture in pcap's format (raw IP, nanoseconds), whatever became of them.
"""

import argparse
import os
import random
import select
import struct
import sys
import time
from collections import OrderedDict
from io import BufferedWriter
from pathlib import Path

import msgspec

from benchmarks.link_packets import Address, TcpPacket, answering_reset, read_tcp
from benchmarks.link_shape import Cut, End, Line, Shape

PACKET_BYTES_MAX = 65_535
_BURST_MAX = 64
_FLOWS_MAX = 4096
_PCAP_NS = 0xA1B23C4D
_RAW_IP = 101
_OTHER: dict[End, End] = {"box": "hub", "hub": "box"}


class Order(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """``shape`` starts anew with another shape and capture; without it counts are told."""

    shape: Shape | None = None
    capture: str | None = None


class Sent(msgspec.Struct, kw_only=True):
    """What one end sent since the shape was set, and what became of it."""

    packets: int = 0
    bytes: int = 0
    arrived: int = 0
    arrived_bytes: int = 0
    lost: int = 0
    queue_full: int = 0
    cut: int = 0
    resets: int = 0


class Counts(msgspec.Struct, kw_only=True):
    box: Sent
    hub: Sent


class Relay:
    """Works on two open TUN devices, the file descriptors ``ends``."""

    def __init__(self, ends: dict[End, int]) -> None:
        self._ends = ends
        self._capture: BufferedWriter | None = None
        self._set(Shape())

    def run(self) -> None:
        """Serve orders and packets until standard input ends."""
        orders = sys.stdin.fileno()
        unread = b""
        while True:
            now_s = time.monotonic()
            ready, _, _ = select.select([orders, *self._ends.values()], [], [], self._wait_s(now_s))
            now_s = time.monotonic()
            self._begin_cut(now_s)
            for end, device in self._ends.items():
                if device in ready:
                    self._take(end, device)
            self._deliver(time.monotonic())
            if orders in ready:
                unread += os.read(orders, PACKET_BYTES_MAX)
                if not unread:
                    return
                *lines, unread = unread.split(b"\n")
                for line in lines:
                    self._obey(msgspec.json.decode(line, type=Order))

    def _set(self, shape: Shape) -> None:
        rng = random.Random(shape.seed)
        self._shape = shape
        self._began_s: float | None = None
        self._current: Cut | None = None
        self._lines: dict[End, Line] = {
            "box": Line(shape.up, random.Random(rng.random())),
            "hub": Line(shape.down, random.Random(rng.random())),
        }
        self._sent: dict[End, Sent] = {"box": Sent(), "hub": Sent()}
        # The last packet with which each end of each connection acknowledged, or opened it.
        self._flows: OrderedDict[tuple[Address, Address], tuple[End, TcpPacket]] = OrderedDict()

    def _obey(self, order: Order) -> None:
        if order.shape is not None:
            self._set(order.shape)
            self._open_capture(order.capture)
        if self._capture is not None:
            self._capture.flush()
        for end, line in self._lines.items():
            self._sent[end].lost, self._sent[end].queue_full = line.lost, line.full
        counts = Counts(box=self._sent["box"], hub=self._sent["hub"])
        sys.stdout.write(msgspec.json.encode(counts).decode() + "\n")
        sys.stdout.flush()

    def _open_capture(self, path: str | None) -> None:
        if self._capture is not None:
            self._capture.close()
        # Owned until the next order or the process's end.
        self._capture = Path(path).open("wb") if path else None  # noqa: SIM115 - see above
        if self._capture is not None:
            head = struct.pack("<IHHiIII", _PCAP_NS, 2, 4, 0, 0, PACKET_BYTES_MAX, _RAW_IP)
            self._capture.write(head)

    def _take(self, end: End, device: int) -> None:
        for _ in range(_BURST_MAX):
            try:
                packet = os.read(device, PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            if packet[0] >> 4 == 4:  # noqa: PLR2004 - IP's version; nothing else is routed here
                self._pass(end, packet, time.monotonic())

    def _pass(self, end: End, packet: bytes, now_s: float) -> None:
        if self._began_s is None:
            self._began_s = now_s
        sent, tcp = self._sent[end], read_tcp(packet)
        sent.packets += 1
        sent.bytes += len(packet)
        if self._capture is not None:
            stamp = divmod(time.time_ns(), 1_000_000_000)
            self._capture.write(struct.pack("<IIII", *stamp, len(packet), len(packet)) + packet)
        cut = self._shape.cut_at(now_s - self._began_s, end)
        if cut is not None:
            sent.cut += 1
            if cut.kind == "reset" and tcp is not None and not tcp.is_reset:
                self._reset(end, tcp)
            return
        if tcp is not None:
            self._remember(end, tcp)
        self._lines[end].offer(packet, now_s)

    def _remember(self, end: End, tcp: TcpPacket) -> None:
        flow = (tcp.source, tcp.target)
        self._flows[flow] = (end, tcp)
        self._flows.move_to_end(flow)
        if len(self._flows) > _FLOWS_MAX:
            self._flows.popitem(last=False)

    def _begin_cut(self, now_s: float) -> None:
        """Let what is under way vanish when a cut begins, and reset all that is open."""
        if self._began_s is None:
            return
        elapsed_s = now_s - self._began_s
        cut = self._shape.cut_at(elapsed_s, "box") or self._shape.cut_at(elapsed_s, "hub")
        if cut is not None and cut is not self._current:
            # What arrived before the cut began has arrived, even when this process slept.
            self._deliver(self._began_s + cut.from_s)
            for end, line in self._lines.items():
                if cut.only in {None, end}:
                    self._sent[end].cut += line.clear(now_s)
            if cut.kind == "reset":
                for end, heard in list(self._flows.values()):
                    self._reset(end, heard)
                self._flows.clear()
        self._current = cut

    def _reset(self, end: End, heard: TcpPacket) -> None:
        self._sent[end].resets += 1
        self._write(end, answering_reset(heard))

    def _deliver(self, now_s: float) -> None:
        for end, line in self._lines.items():
            for packet in line.arrived(now_s):
                self._sent[end].arrived += 1
                self._sent[end].arrived_bytes += len(packet)
                self._write(_OTHER[end], packet)

    def _write(self, end: End, packet: bytes) -> None:
        try:
            os.write(self._ends[end], packet)
        except OSError as error:
            # The device of an end that is being taken down is no longer up.
            print(f"the {end}'s device takes no packet: {error}", file=sys.stderr)

    def _wait_s(self, now_s: float) -> float | None:
        moments = [moment for line in self._lines.values() if (moment := line.next_s()) is not None]
        if self._began_s is not None:
            began_s = self._began_s
            starts = (began_s + cut.from_s for cut in self._shape.cuts)
            moments.extend(start for start in starts if start > now_s)
        return max(0.0, min(moments) - now_s) if moments else None


def main() -> None:
    """Run until standard input ends."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--box", type=int, required=True, help="descriptor of the box's TUN")
    options.add_argument("--hub", type=int, required=True, help="descriptor of the hub's TUN")
    given = options.parse_args()
    for device in (given.box, given.hub):
        os.set_blocking(device, False)
    Relay({"box": given.box, "hub": given.hub}).run()


if __name__ == "__main__":
    main()
