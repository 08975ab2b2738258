"""Kiosks are old: no page uses what a Chromium of 2021 does not know, the class card of 2020."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.peer_environment import peer_node
from edge.pages.assets import STATIC
from edge.pages.rendering import TEMPLATES
from tests.system_needs import need, need_peer

CHROMIUM = 94  # of September 2021; its syntax is later than the checker's ES2019
SCRIPTS_AND_SHEETS = sorted([*STATIC.glob("*.js"), *STATIC.glob("*.css")])
TOO_NEW = {
    "syntax.js": "const seen = told?.state;",
    "block.js": "class Seen { static { Seen.ready = true; } }",
    "method.js": "const sorted = [2, 1].toSorted();",
    "static.js": "const later = Promise.withResolvers();",
    "global.js": "const capsule = new CompressionStream('gzip'); new ViewTransition();",
    "selector.css": ".stage:has(video) { color: red; }",
    "rule.css": "@container (min-width: 1px) { p { color: red; } }",
    "property.css": "p { view-transition-name: p; }",
}


def check(*paths: Path) -> list[dict[str, object]]:
    home = need_peer(peer_node, "kiosk_features")
    command = [need("node", "nodejs"), "check.js", str(CHROMIUM), *map(str, paths)]
    told = subprocess.run(command, check=True, capture_output=True, cwd=home)
    found: list[dict[str, object]] = json.loads(told.stdout)
    return found


def test_no_script_and_no_style_sheet_needs_a_newer_browser() -> None:
    assert check(*SCRIPTS_AND_SHEETS) == []


def test_the_check_finds_what_is_too_new(tmp_path: Path) -> None:
    for name, text in TOO_NEW.items():
        (tmp_path / name).write_text(text)
    found = {Path(str(one["file"])).name for one in check(*sorted(tmp_path.iterdir()))}
    assert found == set(TOO_NEW)


@pytest.mark.parametrize(
    "path", [*SCRIPTS_AND_SHEETS, *sorted(TEMPLATES.glob("*.html"))], ids=lambda path: path.name
)
def test_nothing_is_loaded_from_outside(path: Path) -> None:
    text = path.read_text("utf-8")
    loads = re.compile(
        r"""(?:src|href|action)\s*=\s*["'](?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import"""
        r"""|(?:fetch|import|importScripts)\(\s*["'`](?:https?:)?//"""
    )
    assert loads.search(text) is None


NEWER_THAN_2020 = {
    "optional chaining": r"\?\.[A-Za-z\[(]",
    "nullish coalescing": r"\?\?",
    "logical assignment": r"(\|\||&&)=",
    "private fields": r"\bthis\.#",
    "numeric separators": r"\b\d+_\d+",
    "replaceAll": r"\.replaceAll\(",
    "at()": r"\.at\(",
    "static blocks": r"\bstatic\s*\{",
    "structuredClone": r"\bstructuredClone\(",
    "hasOwn": r"\bObject\.hasOwn\(",
}


@pytest.mark.parametrize(
    "name", ["class_card.js", "card_taps.js", "card_health.js", "live.js", "worker.js"]
)
def test_the_cards_scripts_use_no_syntax_that_an_old_kiosk_does_not_know(name: str) -> None:
    script = re.sub(r"//[^\n]*", "", (STATIC / name).read_text("utf-8"))
    found = [what for what, pattern in NEWER_THAN_2020.items() if re.search(pattern, script)]
    assert found == []


def test_the_cards_style_uses_nothing_that_an_old_kiosk_does_not_know() -> None:
    style = (STATIC / "class_card.css").read_text("utf-8")
    newer = (":has(", "@container", "@layer", "aspect-ratio:", "inset:", "dvh", "color-mix", "gap:")
    assert [each for each in newer if each in style] == []
