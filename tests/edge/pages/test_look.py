"""The stylesheet holds WCAG AA in light, in dark and on the class's board."""

import re

import pytest

from edge.pages.assets import STATIC
from hub.pages.assets import FOLDER as HUB_STATIC

CSS = (STATIC / "schoolnode.css").read_text("utf-8")
CLASSROOM_CSS = (STATIC / "classroom.css").read_text("utf-8")
AA = 4.5
TOUCH_PX = 48


def read_tokens(selector: str, text: str) -> dict[str, str]:
    start = text.index(selector + " {")
    block = text[start : text.index("}", start)]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


LIGHT = read_tokens(":root", CSS)
DARK = LIGHT | read_tokens(":root", CSS[CSS.index("prefers-color-scheme: dark") :])
BOARD = LIGHT | read_tokens(".board", CSS)


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_agrees_with_the_standards_extremes() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("tokens", [LIGHT, DARK, BOARD], ids=["light", "dark", "board"])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        *((ink, ground) for ink in ("ink", "muted", "accent") for ground in ("paper", "surface")),
        ("muted", "sunken"),
        ("on-accent", "accent"),
        *((state, f"{state}-wash") for state in ("good", "warn", "bad", "unknown")),
    ],
)
def test_text_stands_out_from_its_ground(tokens: dict[str, str], ink: str, ground: str) -> None:
    assert contrast(tokens[ink], tokens[ground]) >= AA


def test_status_has_a_shape_of_its_own_beside_its_colour() -> None:
    shapes = {
        state: re.sub(r"\s+", " ", found[1])
        for state in ("good", "warn", "bad")
        if (found := re.search(rf"\.light\.{state}::before {{([^}}]+)}}", CSS))
    }
    assert len(set(shapes.values())) == 3


def test_nothing_to_touch_is_smaller_than_48_px() -> None:
    assert f"--touch: {TOUCH_PX}px" in CSS
    for selector in ("button {", "textarea {", ".bar nav a {", "details > summary {"):
        start = CSS.index(selector)
        assert "min-height: var(--touch)" in CSS[start : CSS.index("}", start)]


def test_what_a_class_reads_on_its_board_is_at_least_3_point_4_percent_of_the_screen() -> None:
    sizes = re.findall(r"\.classroom [^{]*{[^}]*font-size: ([\d.]+)vmin", CLASSROOM_CSS)
    assert sizes
    assert min(float(size) for size in sizes) >= 3.4


@pytest.mark.parametrize("name", ["schoolnode.css", "icon.svg"])
def test_box_and_hub_share_one_look(name: str) -> None:
    assert (STATIC / name).read_bytes() == (HUB_STATIC / name).read_bytes()
