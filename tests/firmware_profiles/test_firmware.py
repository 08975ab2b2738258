import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_profiles.catalog import load_catalog
from firmware_profiles.firmware import fits, judge, parse_range
from firmware_profiles.model import ProfileId

HIKVISION = load_catalog().profiles[ProfileId("camera-hikvision")]


@pytest.mark.parametrize(
    ("version", "versions"),
    [
        ("V5.5.82 build 190909", "<5.5.800"),
        ("V5.5.82 build 190909", "build <210625"),
        ("5.4", "=5.4.0"),
        ("Ver 8.0.4.7-20231212", ">=8, <8.1"),
        ("2", ">1.99"),
        ("1.10", ">1.9"),
        ("whatever", "*"),
    ],
)
def test_a_version_lies_in_a_range(version: str, versions: str) -> None:
    assert fits(version, versions)


@pytest.mark.parametrize(
    ("version", "versions"),
    [
        ("V5.5.800 build 210628", "build <210625"),
        ("V5.5.82", "build <210625"),
        ("5.4.1", "=5.4"),
        ("1.9", ">1.10"),
        ("unknown", "<9"),
        ("3.0", ">=1, <3"),
    ],
)
def test_a_version_lies_outside_a_range(version: str, versions: str) -> None:
    assert not fits(version, versions)


@pytest.mark.parametrize("text", ["", "5", ">", "<1..2", "~=1", ">=1;<2", "<1.2.3.4.5.6.7.8.9"])
def test_what_is_no_range_is_refused_with_its_remedy(text: str) -> None:
    with pytest.raises(ValueError, match=r'write "\*" or ">=1\.2, <2"'):
        parse_range(text)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_raises_anything_but_a_value_error(version: str, versions: str) -> None:
    try:
        fits(version, versions)
    except ValueError as error:
        assert "is no range of versions" in str(error)  # noqa: PT017 - either outcome is right


def test_a_faulty_camera_is_judged_with_what_a_person_must_do() -> None:
    found = judge(HIKVISION, "V5.5.82 build 190909")
    assert found is not None
    assert (found.state, found.applied_by) == ("faulty", "person")
    assert "CVE-2021-36260" in found.reason
    assert "load it at" in found.how
    assert judge(HIKVISION, "V5.7.3 build 220112") is None
