import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.lessons.root_cause import Hop, HopMinute, HopSum, Root, find_root, hop_sums


def told(hop: Hop, minutes: str) -> list[HopMinute]:
    """Return a hop's minutes: ``.`` for a good one, ``x`` for a poor one, a blank for none."""
    return [
        HopMinute(hop=hop, minute=minute, is_good=mark == ".")
        for minute, mark in enumerate(minutes)
        if mark != " "
    ]


GOOD = "." * 20
POOR = "....xxxx............"


@pytest.mark.parametrize(
    ("camera", "up", "down", "lan", "decode", "root"),
    [
        (GOOD, GOOD, GOOD, GOOD, GOOD, Root.NONE),
        (POOR, POOR, POOR, GOOD, GOOD, Root.CAMERA),
        (GOOD, POOR, "....xxxxx...........", GOOD, GOOD, Root.FLAGSHIP_LINE),
        (GOOD, GOOD, POOR, GOOD, POOR, Root.RECEIVER_LINE),
        (GOOD, GOOD, GOOD, POOR, POOR, Root.LAN),
        (GOOD, GOOD, GOOD, GOOD, POOR, Root.SCREEN),
        # Two troubles: the one that made more minutes poor by itself is the cause.
        ("x...................", GOOD, "......xxxxxx........", GOOD, GOOD, Root.RECEIVER_LINE),
        ("                    ", "", "", "", "", Root.UNKNOWN),
    ],
)
def test_the_first_hop_that_was_poor_is_the_cause(
    camera: str, up: str, down: str, lan: str, decode: str, root: Root
) -> None:
    flagship = told(Hop.CAMERA, camera) + told(Hop.WAN, up)
    receiver = told(Hop.WAN, down) + told(Hop.LAN, lan) + told(Hop.DECODE, decode)
    assert find_root(flagship, receiver, is_flagship=False) is root


def test_a_flagship_is_not_blamed_for_a_receivers_line() -> None:
    flagship, receiver = told(Hop.CAMERA, GOOD), told(Hop.WAN, "xxxxx")
    assert find_root(flagship, receiver, is_flagship=True) is Root.NONE
    assert find_root([], receiver, is_flagship=False) is Root.RECEIVER_LINE


def test_a_hub_that_is_late_explains_both_lines() -> None:
    lines = told(Hop.WAN, POOR) + told(Hop.LINK, POOR)
    hub = told(Hop.HUB, POOR)
    assert find_root(lines + hub, lines, is_flagship=False) is Root.HUB
    assert find_root(lines, lines + hub, is_flagship=False) is Root.HUB
    assert find_root(lines + hub, (), is_flagship=True) is Root.HUB
    assert find_root(lines, lines, is_flagship=False) is Root.FLAGSHIP_LINE


def test_the_hub_may_tell_of_a_minute_in_the_next() -> None:
    line = told(Hop.WAN, "x..x..x..x..x..x..x.")
    hub = told(Hop.HUB, ".x..x..x..x..x..x...")
    assert find_root((), line + hub, is_flagship=False) is Root.HUB


def test_what_the_hub_saw_of_a_line_speaks_where_the_school_saw_nothing() -> None:
    good = told(Hop.WAN, GOOD)
    assert find_root(good, good + told(Hop.LINK, POOR), is_flagship=False) is Root.RECEIVER_LINE
    assert find_root(good + told(Hop.LINK, POOR), good, is_flagship=False) is Root.FLAGSHIP_LINE


def test_a_camera_that_is_silent_is_not_the_flagships_line() -> None:
    flagship = told(Hop.CAMERA, POOR) + told(Hop.WAN, POOR) + told(Hop.LINK, POOR)
    assert find_root(flagship, (), is_flagship=True) is Root.CAMERA


def test_one_poor_minute_of_many_is_no_cause() -> None:
    receiver = told(Hop.WAN, "x" + "." * 44)
    assert find_root([], receiver, is_flagship=False) is Root.NONE


def test_each_hop_is_added_up() -> None:
    assert hop_sums(told(Hop.WAN, ".xx.") + told(Hop.CAMERA, "..")) == [
        HopSum(hop=Hop.CAMERA, poor=0, told=2),
        HopSum(hop=Hop.WAN, poor=2, told=4),
    ]


minutes = st.lists(
    st.builds(
        HopMinute, hop=st.sampled_from(Hop), minute=st.integers(0, 60), is_good=st.booleans()
    ),
    max_size=40,
)


@given(minutes, minutes)
def test_the_order_of_the_rows_does_not_matter(
    flagship: list[HopMinute], receiver: list[HopMinute]
) -> None:
    root = find_root(flagship, receiver, is_flagship=False)
    assert find_root(flagship[::-1], receiver[::-1], is_flagship=False) is root
