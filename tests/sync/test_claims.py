"""The list of what sync claims names tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = Path(__file__).with_name("README.md")
NAMED = re.findall(r"`((?:tests/)?[a-z_/]+\.py)::(\w+)`", PAGE.read_text())
HEADINGS = ("Log", "Bodies and keys", "Merge", "Exchange", "How it is proven")


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_named_test_exists(file: str, name: str) -> None:
    path = ROOT / file if file.startswith("tests/") else PAGE.with_name(file)
    kind = "class |def |^" if name.startswith("Test") else "def "
    assert re.search(rf"(?:{kind}){name}\b", path.read_text(), re.MULTILINE), path


def test_every_claim_names_a_test_or_a_command() -> None:
    page = PAGE.read_text()
    claims = re.findall(r"^- .+(?:\n  .+)*", page.partition("## Not shown")[0], re.MULTILINE)
    assert len(claims) > 40
    for claim in claims:
        assert re.search(r"`[^`]+\.py(::\w+)?`", claim), claim
    assert re.findall(r"^## (.+)$", page, re.MULTILINE)[:5] == list(HEADINGS)
