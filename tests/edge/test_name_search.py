"""The demo's search of its hub for pupils: what it counts, and when its control says no."""

import random
from pathlib import Path

import pytest

from edge.demo.name_search import count_names, count_names_at_hub, search_finds_names
from edge.demo.plan import DemoPlan, load_demo_config, make_plan, roster
from provisioning.box_keys import private_pem
from provisioning.durable_file import private_folder, write_private
from tests.sync.district import District
from tests.sync.test_secrecy import carry

SEALED = "entry"
IN_THE_OPEN = "plot"


@pytest.fixture
def plan(tmp_path: Path) -> DemoPlan:
    return make_plan(tmp_path / "demo", load_demo_config(None))


def write_hub(plan: DemoPlan, place: Path, words: str, column: str) -> Path:
    """Let a school write ``words`` into a column, and bring it to the demo's hub by stick.

    Return the stick's file, which lies in the hub's folder; folded is nothing of it.
    """
    place.mkdir()
    district = District(place, random.Random(7))
    for origin in (0, 1):
        district.add(origin)
    district.nodes[1].record("grow_log", [{"at_ms": 1, IN_THE_OPEN: "p1", SEALED: "wet"}])
    district.exchange(1)  # with it goes the key of what the hub may read
    hub = plan.hub_config.parent
    private_folder(hub / "identity")
    write_private(hub / "identity" / "sealing.key", private_pem(district.keys[0].sealing))
    (hub / "hub.log").write_text(f"{plan.schools[0].name}: {plan.schools[0].number}\n")
    (hub / "hub.db").write_bytes(district.back_up(0))
    district.nodes[1].record("grow_log", [{"at_ms": 2, column: words}])
    (hub / "school-1.courier").write_bytes(b"".join(carry(district, 1, 0)[:1]))
    for node in district.nodes.values():
        node.close()
    return hub / "school-1.courier"


@pytest.mark.parametrize("which", [0, 1], ids=["name", "card"])
def test_what_a_key_of_the_hub_opens_counts_though_no_byte_shows_it(
    plan: DemoPlan, tmp_path: Path, which: int
) -> None:
    told = roster(plan.schools[1])[3][which]
    stick = write_hub(plan, tmp_path / "open", told, IN_THE_OPEN)
    assert count_names(stick.read_bytes(), [told]) == 0
    assert count_names_at_hub(plan) == 1
    assert search_finds_names(plan)


def test_what_is_sealed_to_its_school_does_not_count(plan: DemoPlan, tmp_path: Path) -> None:
    write_hub(plan, tmp_path / "sealed", roster(plan.schools[1])[3][0], SEALED)
    assert count_names_at_hub(plan) == 0
    assert search_finds_names(plan)


def test_the_control_says_no_where_the_hubs_key_opens_nothing(
    plan: DemoPlan, tmp_path: Path
) -> None:
    write_hub(plan, tmp_path / "lost", "", SEALED)
    other = District(tmp_path, random.Random(8))
    other.add(0).close()
    write_private(
        plan.hub_config.parent / "identity" / "sealing.key", private_pem(other.keys[0].sealing)
    )
    assert not search_finds_names(plan)
