"""The six packages are those of this tree, and the programs load nothing that must stay out."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import drivers
import edge
import firmware_profiles
import hub
import provisioning
import sync

TREE = Path(__file__).parents[2]
KEPT_OUT = ("av", "numpy", "playwright", "pytest")
"""PyAV's wheel bundles x264 and x265; the others serve demo and tests only."""

# What is kept out is not there, as on a box: sqlite-utils would load numpy where it finds it.
LOADED = f"""
import importlib, json, sys
sys.modules.update(dict.fromkeys({KEPT_OUT}))
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([name for name, module in sys.modules.items() if module]))
"""


@pytest.mark.parametrize(
    "package",
    [edge, hub, drivers, provisioning, sync, firmware_profiles],
    ids=lambda package: package.__name__,
)
def test_a_package_is_imported_from_this_tree(package: object) -> None:
    file = getattr(package, "__file__", None)
    assert file is not None
    assert Path(file).resolve().parents[1] == TREE


@pytest.mark.parametrize(
    "programs",
    [
        ("edge.command_line", "edge.daemon_process", "drivers.cameras.__main__"),
        ("hub.__main__",),
    ],
    ids=" ".join,
)
def test_a_program_starts_without_encoders_and_loads_nothing_copyleft(
    programs: tuple[str, ...],
) -> None:
    loaded = modules_of(*programs)
    assert "cryptography" in loaded
    known = metadata.packages_distributions()
    distributions = {name for module in loaded for name in known.get(module, [])}
    assert "aiohttp" in distributions
    copyleft = {name for name in distributions if is_gpl(licence_of(name))}
    assert copyleft == set()


def test_the_licence_check_would_find_a_copyleft_one() -> None:
    assert is_gpl(licence_of("pyinstaller"))
    assert is_gpl("License :: OSI Approved :: GNU General Public License v3 (GPLv3)")
    assert not is_gpl("LGPL-2.1-or-later")
    assert not is_gpl("GNU Lesser General Public License (LGPL)")


def modules_of(*programs: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after importing programs."""
    told = subprocess.run(
        [sys.executable, "-c", LOADED, *programs], capture_output=True, check=True, cwd=TREE
    )
    return {name.partition(".")[0] for name in json.loads(told.stdout)}


def licence_of(distribution: str) -> str:
    told = metadata.metadata(distribution)
    classified = [each for each in told.get_all("Classifier", []) if each.startswith("License")]
    return "; ".join([*told.get_all("License-Expression", []), *classified])


def is_gpl(licence: str) -> bool:
    words = licence.replace("LGPL", "").replace("Lesser General Public License", "")
    return "GPL" in words or "General Public License" in words
