import random

from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.rtp_order import HELD_MAX, WAIT_S, PacketOrder


def datagram(number: int) -> bytes:
    return b"\x80\x60" + (number & 0xFFFF).to_bytes(2, "big") + b"rest"


@given(st.integers(0, 0xFFFF), st.integers(1, 30), st.integers(0, 2**32))
def test_datagrams_that_overtake_each_other_come_out_in_order(
    first: int, reach: int, seed: int
) -> None:
    chance, order = random.Random(seed), PacketOrder()
    sent = list(range(1, 200))
    sent.sort(key=lambda number: number + chance.uniform(0, reach))
    out = [one for number in [0, *sent] for one in order.take(datagram(first + number), 0)]
    assert out == [datagram(first + number) for number in range(200)]
    assert order.due_s is None


def test_a_lost_datagram_is_waited_for_a_moment_and_then_passed_over() -> None:
    order = PacketOrder()
    order.take(datagram(0xFFFE), 1.0)
    assert order.take(datagram(1), 1.0) == []
    assert order.take(datagram(2), 1.01) == []
    assert order.release(1.0 + WAIT_S / 2) == []
    assert order.release(1.0 + WAIT_S) == [datagram(1), datagram(2)]
    assert order.due_s is None
    assert order.take(datagram(0xFFFF), 1.1) == []  # too late now
    assert order.due_s is None


def test_a_second_lost_datagram_is_waited_for_as_long_as_the_first() -> None:
    order = PacketOrder()
    order.take(datagram(0), 1.0)
    order.take(datagram(2), 1.0)
    order.take(datagram(4), 1.03)
    assert order.take(datagram(1), 1.035) == [datagram(1), datagram(2)]
    assert order.release(1.0 + WAIT_S) == []
    assert order.take(datagram(3), 1.05) == [datagram(3), datagram(4)]


def test_doubles_are_dropped() -> None:
    order = PacketOrder()
    out = [one for number in (1, 1, 2, 1, 2, 3) for one in order.take(datagram(number), 0)]
    assert out == [datagram(number) for number in (1, 2, 3)]


@given(st.lists(st.tuples(st.binary(max_size=8), st.floats(0, 10)), max_size=60))
def test_arbitrary_datagrams_come_out_once_or_wait_in_bounds(
    sent: list[tuple[bytes, float]],
) -> None:
    order, now_s, out = PacketOrder(), 0.0, list[bytes]()
    for data, step_s in sent:
        now_s += step_s
        out += order.release(now_s)
        out += order.take(data, now_s)
    out += order.release(now_s + WAIT_S)
    assert len(out) <= len(sent)
    assert set(out) <= {data for data, _ in sent}


def test_what_waits_is_bounded() -> None:
    order = PacketOrder()
    order.take(datagram(0), 0)
    out = [one for number in range(2, 2 * HELD_MAX) for one in order.take(datagram(number), 0)]
    assert len(out) > HELD_MAX // 2
    assert out == [datagram(number) for number in range(2, 2 + len(out))]
