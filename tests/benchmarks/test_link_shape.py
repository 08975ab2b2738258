"""A line's arithmetic, on a clock that the test moves."""

import random
from ipaddress import IPv4Address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.link_packets import TcpPacket, answering_reset, read_tcp
from benchmarks.link_shape import Cut, Line, Shape, Way, cuts_every_twelve_s, drawn_cuts

PACKET = bytes(1000)


def line(way: Way, seed: int = 1) -> Line:
    return Line(way, random.Random(seed))


def test_a_packet_arrives_when_it_was_sent_whole_and_has_travelled() -> None:
    slow = line(Way(kbits=8, delay_ms=250))
    slow.offer(PACKET, 10.0)
    slow.offer(PACKET, 10.0)
    assert slow.next_s() == pytest.approx(11.25)
    assert slow.arrived(11.24) == []
    assert len(slow.arrived(11.26)) == 1
    assert slow.next_s() == pytest.approx(12.25)


def test_a_line_that_stood_idle_saves_nothing_up() -> None:
    slow = line(Way(kbits=8))
    slow.offer(PACKET, 0.0)
    slow.offer(PACKET, 100.0)
    assert slow.arrived(100.5) == [PACKET]
    assert slow.next_s() == pytest.approx(101.0)


def test_the_queue_holds_its_bytes_and_not_one_more() -> None:
    slow = line(Way(kbits=8, queue_bytes=3000))
    for _ in range(4):
        slow.offer(PACKET, 0.0)
    assert slow.full == 1
    slow.offer(PACKET, 1.0)
    assert slow.full == 1, "the first has left by now"
    assert len(slow.arrived(60.0)) == 4


def test_a_lost_packet_took_its_time_on_the_line() -> None:
    lossy = line(Way(kbits=8, loss=1))
    lossy.offer(PACKET, 0.0)
    assert (lossy.lost, lossy.next_s()) == (1, None)
    lossy = line(Way(kbits=8, loss=0.5), seed=2)
    for _ in range(8):
        lossy.offer(PACKET, 0.0)
    assert lossy.lost == 8 - len(lossy.arrived(8.0))


def test_what_vanished_with_a_cut_leaves_the_line_free() -> None:
    slow = line(Way(kbits=8))
    slow.offer(PACKET, 0.0)
    slow.offer(PACKET, 0.0)
    assert slow.clear(0.5) == 2
    slow.offer(PACKET, 1.0)
    assert slow.next_s() == pytest.approx(2.0)


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 1500)), max_size=60),
    st.floats(0, 1),
    st.integers(1500, 9000),
    st.integers(0, 2**32),
)
def test_packets_arrive_in_order_and_each_is_accounted_for(
    sent: list[tuple[float, int]], loss: float, queue_bytes: int, seed: int
) -> None:
    way = Way(kbits=30, delay_ms=350, loss=loss, queue_bytes=queue_bytes)
    one, other = line(way, seed), line(way, seed)
    now_s, offered = 0.0, []
    for number, (gap_s, size) in enumerate(sent):
        now_s += gap_s
        packet = number.to_bytes(2, "big") + bytes(size)
        offered.append(packet)
        one.offer(packet, now_s)
        other.offer(packet, now_s)
    came = one.arrived(1e9)
    assert came == other.arrived(1e9), "one seed, one outcome"
    assert [packet for packet in offered if packet in came] == came
    assert len(came) + one.lost + one.full == len(offered)


def test_cuts_come_at_one_second_and_after_every_eight_of_working_line() -> None:
    cuts = cuts_every_twelve_s("black hole", until_s=30)
    assert [(cut.from_s, cut.until_s) for cut in cuts] == [(1, 5), (13, 17), (25, 29)]
    shape = Shape(cuts=cuts)
    assert shape.cut_at(0.99, "box") is None
    assert shape.cut_at(1.0, "box") == cuts[0]
    assert shape.cut_at(5.0, "hub") is None


def test_a_cut_of_one_end_spares_the_other() -> None:
    shape = Shape(cuts=(Cut(kind="black hole", from_s=0, until_s=9, only="hub"),))
    assert shape.cut_at(1, "hub") is not None
    assert shape.cut_at(1, "box") is None


def test_drawn_cuts_come_from_the_seed_and_do_not_overlap() -> None:
    cuts = drawn_cuts(5, "reset", mean_up_s=8, mean_cut_s=4, until_s=10_000)
    assert cuts == drawn_cuts(5, "reset", mean_up_s=8, mean_cut_s=4, until_s=10_000)
    assert cuts != drawn_cuts(6, "reset", mean_up_s=8, mean_cut_s=4, until_s=10_000)
    assert all(cut.until_s <= after.from_s for cut, after in pairwise(cuts))
    assert 600 < len(cuts) < 1100


@given(st.binary(max_size=80))
def test_any_bytes_are_a_tcp_packet_or_nothing(data: bytes) -> None:
    read_tcp(data)
    read_tcp(b"\x45\x00\x00\x28" + bytes(5) + b"\x06" + data)


def test_a_reset_comes_from_the_far_end_at_the_place_that_was_acknowledged() -> None:
    ends = (IPv4Address("10.0.0.1"), 4000), (IPv4Address("10.0.0.2"), 443)
    heard = TcpPacket(source=ends[0], target=ends[1], seq=70, ack=9, flags=0x18, payload_bytes=30)
    reset = read_tcp(answering_reset(heard))
    assert reset is not None
    assert (reset.source, reset.target) == (ends[1], ends[0])
    assert (reset.is_reset, reset.seq, reset.acknowledges) == (True, 9, False)


def test_an_opening_packet_is_refused_by_acknowledging_it() -> None:
    ends = (IPv4Address("10.0.0.1"), 4000), (IPv4Address("10.0.0.2"), 443)
    heard = TcpPacket(
        source=ends[0], target=ends[1], seq=2**32 - 1, ack=0, flags=0x02, payload_bytes=0
    )
    reset = read_tcp(answering_reset(heard))
    assert reset is not None
    assert (reset.is_reset, reset.acknowledges, reset.ack) == (True, True, 0)
