import msgspec
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.modbus_points import WIDTH
from drivers.planner import plan_blocks
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import Point, Profile, ProfileId
from firmware_profiles.quirks import Quirk

SOIL = load_catalog().profiles[ProfileId("soil-sen0601")]


def profile(points: list[Point], *, block_max: int = 16, gap_max: int = 0) -> Profile:
    link = msgspec.structs.replace(SOIL.links[0], block_max=block_max, gap_max=gap_max)
    return msgspec.structs.replace(SOIL, points=tuple(points), links=(link,))


def at(register: int, **fields: object) -> Point:
    made = Point(id=f"r{register}", capability="measurement", function=3, register=register)
    return msgspec.structs.replace(made, **fields)


def spans(described: Profile) -> list[tuple[int, int]]:
    return [
        (b.request.address, b.request.count) for b in plan_blocks(described, 1, described.links[0])
    ]


def test_neighbours_are_read_at_once() -> None:
    assert spans(SOIL) == [(0, 3)]


def test_a_gap_is_spanned_only_as_far_as_the_profile_allows() -> None:
    points = [at(0), at(3)]
    assert spans(profile(points, gap_max=1)) == [(0, 1), (3, 1)]
    assert spans(profile(points, gap_max=2)) == [(0, 4)]


def test_a_block_ends_at_the_profiles_limit() -> None:
    points = [at(register) for register in range(5)]
    assert spans(profile(points, block_max=2)) == [(0, 2), (2, 2), (4, 1)]


def test_points_of_other_poll_classes_are_read_on_their_own() -> None:
    points = [at(0), at(1, poll="fast"), at(2)]
    assert sorted(spans(profile(points))) == [(0, 1), (1, 1), (2, 1)]


def test_the_quirk_of_single_reads_is_kept() -> None:
    described = profile([at(0), at(1)])
    quirky = msgspec.structs.replace(described, quirks=(Quirk(id="one_point_a_read"),))
    assert spans(quirky) == [(0, 1), (1, 1)]


@given(
    st.dictionaries(
        st.integers(0, 60),
        st.tuples(st.sampled_from(["uint16", "uint32"]), st.sampled_from(["fast", "slow"])),
        min_size=1,
        max_size=12,
    ),
    st.integers(2, 16),
    st.integers(0, 8),
)
def test_every_point_is_read_once_within_the_limits(
    layout: dict[int, tuple[str, str]], block_max: int, gap_max: int
) -> None:
    points = [at(register, dtype=dtype, poll=poll) for register, (dtype, poll) in layout.items()]
    made = profile(points, block_max=block_max, gap_max=gap_max)
    blocks = plan_blocks(made, 9, made.links[0])
    planned = [placed.point.id for block in blocks for placed in block.points]
    assert sorted(planned) == sorted(p.id for p in points)
    for block in blocks:
        assert block.request.unit == 9
        assert block.request.count <= block_max
        for placed in block.points:
            assert placed.point.poll == block.poll
            assert block.request.address + placed.index == placed.point.register
            assert placed.index + WIDTH[placed.point.dtype] <= block.request.count
