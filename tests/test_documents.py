"""The pages for people say what the programs do."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import typer.main

from edge.command_line import app as box_app
from edge.config import BoxConfig
from edge.config import load_config as load_box_config
from edge.demo.plan import DemoConfig, load_demo_config
from hub.__main__ import app as hub_app
from hub.config import HubConfig
from hub.config import load_config as load_hub_config

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md"), *ROOT.glob("*/README.md")])
LOADERS = {"box": load_box_config, "hub": load_hub_config, "demo": load_demo_config}
SETTINGS: dict[str, type[msgspec.Struct]] = {
    "box": BoxConfig,
    "hub": HubConfig,
    "demo": DemoConfig,
}
TWINS = [(name, language) for name in ("box", "hub", "demo") for language in ("", ".zh-CN")]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def settings_of(kind: type[msgspec.Struct]) -> Iterator[str]:
    for field in msgspec.structs.fields(kind):
        yield field.name
        parts = getattr(field.type, "__args__", ()) or (field.type,)
        for part in parts:
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                yield from settings_of(part)


def commands_of(app: typer.Typer, name: str) -> set[str]:
    group = typer.main.get_group(app)
    found = set()
    for command, what in group.commands.items():
        found.add(f"{name} {command}")
        found |= {f"{name} {command} {each}" for each in getattr(what, "commands", {})}
    return found


COMMANDS = commands_of(box_app, "schoolnode") | commands_of(hub_app, "schoolnode-hub")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", each).lower().replace(" ", "-") for each in titles}
            assert anchor in anchors, target


@pytest.mark.parametrize(("name", "language"), TWINS)
def test_every_example_configuration_is_accepted(name: str, language: str, tmp_path: Path) -> None:
    examples = blocks(DOCS / f"{name}{language}.md", "toml")
    assert examples
    for number, example in enumerate(examples):
        file = tmp_path / f"{number}.toml"
        file.write_text(example)
        LOADERS[name](file)


@pytest.mark.parametrize(("name", "language"), TWINS)
def test_every_setting_is_described(name: str, language: str) -> None:
    examples = "\n".join(blocks(DOCS / f"{name}{language}.md", "toml"))
    for setting in settings_of(SETTINGS[name]):
        assert re.search(rf"^(\[(\w+\.)*|#)?{setting}\b", examples, re.MULTILINE), setting


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_a_page_names_exists(page: Path) -> None:
    code = re.findall(r"`([^`\n]+)`", page.read_text()) + blocks(page, "")
    for line in "\n".join(code).splitlines():
        for program, words in re.findall(
            r"(?:^|[$/=-] ?)(schoolnode(?:-hub)?) ([a-z][a-z -]*)", line
        ):
            first, *rest = words.split()
            second = rest[0] if rest else ""
            assert {f"{program} {first}", f"{program} {first} {second}"} & COMMANDS, line


@pytest.mark.parametrize("name", ["box", "hub", "demo", "trust", "rosters", "lesson"])
def test_both_languages_name_the_same_commands_and_options(name: str) -> None:
    def named(page: Path) -> set[str]:
        found = re.findall(r"`((?:schoolnode|--)[a-z -]+)`", page.read_text())
        return set(found)

    assert named(DOCS / f"{name}.md") == named(DOCS / f"{name}.zh-CN.md")
