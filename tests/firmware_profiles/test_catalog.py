from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.discovery.candidate import DeviceKind
from firmware_profiles.catalog import FILE_BYTES_MAX, ProfileError, load_catalog, load_profile
from firmware_profiles.model import ProfileId

BUNDLED = Path(__file__).parents[2] / "firmware_profiles" / "devices"
LIGHT = BUNDLED / "farm_sensor" / "light-485-200klx.toml"


def write(folder: Path, text: str, name: str = "light-485-200klx") -> Path:
    path = folder / "farm_sensor" / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_every_bundled_profile_loads() -> None:
    catalog = load_catalog()
    assert catalog.faults == ()
    assert {"soil-sen0601", "rdm6300", "pjlink-projector", "onvif-camera"} <= set(catalog.profiles)
    assert len(catalog.profiles) == len(list(BUNDLED.glob("*/*.toml")))


def test_the_profile_in_the_readme_is_one(tmp_path: Path) -> None:
    readme = (BUNDLED.parent / "README.md").read_text()
    example = readme.partition("```toml\n")[2].partition("```")[0]
    assert load_profile(write(tmp_path, example, name="co2-acme-7")).points[0].id == "co2"
    assert example.count("\n") < 45


def test_the_readme_lists_every_bundled_profile() -> None:
    readme = (BUNDLED.parent / "README.md").read_text()
    assert [name for name in load_catalog().profiles if f"`{name}`" not in readme] == []


def test_a_cameras_maker_goes_before_the_standard() -> None:
    catalog = load_catalog()
    scopes = [
        "onvif://www.onvif.org/Profile/Streaming",
        "onvif://www.onvif.org/type/video_encoder",
        "onvif://www.onvif.org/name/HIKVISION%20DS-2CD2143G0-I",
    ]
    found = catalog.by_scopes(scopes)
    assert found is not None
    assert found.id == "camera-hikvision"
    found = catalog.by_scopes(scopes[:2])
    assert found is not None
    assert found.id == "onvif-camera"
    assert catalog.by_scopes(["onvif://www.onvif.org/name/Printer"]) is None


def test_kinds_are_the_kinds_the_product_knows() -> None:
    assert {p.kind for p in load_catalog().profiles.values()} <= {kind.value for kind in DeviceKind}


def test_profiles_are_found_by_the_link_they_speak() -> None:
    modbus = load_catalog().by_link("modbus_rtu")
    assert [p.id for p in modbus] == sorted(p.id for p in modbus)
    assert {p.kind for p in modbus} == {"farm_sensor", "farm_actuator", "safety_input"}


@pytest.mark.parametrize(
    ("old", "new", "at", "words"),
    [
        ("scale = 0.1", "scal = 0.1", "scal = 0.1", "unknown field `scal`"),
        ('dtype = "uint32"', 'dtype = "uint33"', 'dtype = "uint33"', "uint33"),
        ("register = 0x0046", "register = 70000", "register = 70000", "65535"),
        ('kind = "farm_sensor"', 'kind = "toaster"', 'kind = "toaster"', "toaster"),
        ("schema = 1", "schema = 9", "schema = 9", "schema is 9"),
        ("[[points]]", "[[points]", "[[points]", "is not TOML"),
        ("low = 0.0, high = 200000.0", "low = 9.0, high = 1.0", "valid =", "is empty"),
        ("values = { illuminance", "values = { gloom", "values =", "gloom"),
        ("01 03 00 02 00 02 65 CB", "not bytes", "[[vectors]]", "is not hexadecimal"),
        ("count = 2", "count = 1", "expect =", "2 expectations for 1 registers"),
        ("9600 = 2 }", "19200 = 2 }", "baud_codes", "lacks 9600"),
    ],
)
def test_a_broken_file_is_reported_with_its_line_and_costs_only_itself(
    tmp_path: Path, old: str, new: str, at: str, words: str
) -> None:
    text = LIGHT.read_text().replace("[[points]]", "[[points]]\nscale = 0.1", 1)
    assert load_profile(write(tmp_path, text)).id == "light-485-200klx"
    broken = text.replace(old, new, 1).replace("version = 1", "version = 2", 1)
    path = write(tmp_path, broken)
    catalog = load_catalog(tmp_path)
    (fault,) = catalog.faults
    assert words in str(fault)
    assert str(fault).startswith(f"{path}:{line_of(broken, at)}: ")
    assert "; " in str(fault)
    assert set(catalog.profiles) == set(load_catalog().profiles)


def test_a_misspelt_key_at_the_top_is_reported_where_it_stands(tmp_path: Path) -> None:
    text = LIGHT.read_text().replace('vendor = "generic"', 'vendor = "generic"\nvendr = "x"')
    with pytest.raises(ProfileError, match="vendr") as caught:
        load_profile(write(tmp_path, text))
    assert caught.value.line == line_of(text, "vendr")


def test_an_extra_profile_replaces_a_bundled_one_only_with_a_higher_version(tmp_path: Path) -> None:
    write(tmp_path, LIGHT.read_text())
    (fault,) = load_catalog(tmp_path).faults
    assert "version 1 of light-485-200klx is there already" in str(fault)
    write(tmp_path, LIGHT.read_text().replace("version = 1", "version = 2", 1))
    catalog = load_catalog(tmp_path)
    assert catalog.faults == ()
    assert catalog.profiles[ProfileId("light-485-200klx")].version == 2


def test_a_file_must_lie_where_its_kind_and_id_say(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"belongs at farm_sensor/light-485-200klx\.toml"):
        load_profile(write(tmp_path, LIGHT.read_text(), name="lamp"))


def test_a_huge_or_binary_file_is_refused_with_its_remedy(tmp_path: Path) -> None:
    path = write(tmp_path, "#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ProfileError, match=r"larger than 64 KiB; .* make it shorter"):
        load_profile(path)
    path.write_bytes(b"schema = 1\n\xff")
    with pytest.raises(ProfileError, match=r":2: is not UTF-8; save it as UTF-8"):
        load_profile(path)


def test_a_missing_folder_is_named_and_the_bundled_profiles_stay(tmp_path: Path) -> None:
    catalog = load_catalog(tmp_path / "nowhere")
    (fault,) = catalog.faults
    assert "nowhere: is no folder" in str(fault)
    assert catalog.profiles


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_but_a_profile_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("profiles") / "x.toml"
    path.write_bytes(data)
    with pytest.raises(ProfileError):
        load_profile(path)


@given(st.data())
def test_a_damaged_profile_loads_or_is_a_profile_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines = LIGHT.read_text().splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(lines) - 1))
        lines[index] = data.draw(st.sampled_from(["", lines[index] + "x", lines[index][:-1]]))
    folder = tmp_path_factory.mktemp("profiles")
    path = write(folder, "\n".join(lines))
    try:
        profile = load_profile(path)
    except ProfileError as error:
        assert str(path) in str(error)  # noqa: PT017 — either outcome is right
    else:
        assert profile.id == "light-485-200klx"
