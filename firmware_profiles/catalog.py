"""Loading profiles from files: strict, bounded, and one broken file costs only itself."""

import re
import tomllib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote

import msgspec

from firmware_profiles.lint import Flaw, find_flaws
from firmware_profiles.model import LinkType, Profile, ProfileId

FILE_BYTES_MAX = 64 * 1024
FILES_MAX = 1_000
SCHEMA = 1
GENERIC = "generic"
"""The vendor of a profile that fits many makers' devices."""

Rule = Callable[[Profile], Iterator[Flaw]]


class ProfileError(Exception):
    """A profile file cannot be used; says file, line where known, fact and remedy."""

    def __init__(self, path: Path, line: int | None, fact: str, remedy: str) -> None:
        place = str(path) if line is None else f"{path}:{line}"
        super().__init__(f"{place}: {fact}; {remedy}")
        self.path = path
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Usable profiles by id, and what was wrong with the others."""

    profiles: dict[ProfileId, Profile]
    faults: tuple[ProfileError, ...]

    def by_link(self, link_type: LinkType) -> list[Profile]:
        """Return the profiles that can be reached this way, by id."""
        return [
            profile
            for _, profile in sorted(self.profiles.items())
            if any(link.type == link_type for link in profile.links)
        ]

    def by_scopes(self, scopes: Collection[str]) -> Profile | None:
        """Return the camera model whose announced scopes fit best, None when none fits.

        A maker's profile goes before a generic one, then the longest prefix wins.
        """
        fits = [
            (profile.vendor != GENERIC, len(prefix), profile)
            for _, profile in sorted(self.profiles.items())
            for prefix in profile.match.onvif_scopes
            if any(unquote(scope).startswith(prefix) for scope in scopes)
        ]
        return max(fits, key=lambda fit: fit[:2])[2] if fits else None


def load_catalog(extra: Path | None = None) -> Catalog:
    """Load the bundled profiles and those of ``extra``, a folder shaped like ``devices/``.

    A profile in ``extra`` replaces a bundled one of the same id when its version is higher.
    """
    profiles: dict[ProfileId, Profile] = {}
    faults: list[ProfileError] = []
    folders = [Path(str(files("firmware_profiles"))) / "devices"]
    if extra is not None:
        folders.append(extra)
    for folder in folders:
        for path in _profile_files(folder, faults):
            try:
                profile = load_profile(path)
            except ProfileError as fault:
                faults.append(fault)
                continue
            known = profiles.get(ProfileId(profile.id))
            if known is not None and known.version >= profile.version:
                fact = f"version {profile.version} of {profile.id} is there already"
                remedy = f"raise its version above {known.version} or remove the file"
                faults.append(ProfileError(path, None, fact, remedy))
                continue
            profiles[ProfileId(profile.id)] = profile
    return Catalog(profiles=profiles, faults=tuple(faults))


def load_profile(path: Path) -> Profile:
    """Load and check ``<kind>/<id>.toml``; ProfileError when anything is wrong with it."""
    profile = _parse(path, _read(path))
    for expected, actual in ((profile.id, path.stem), (profile.kind, path.parent.name)):
        if expected != actual:
            fact = f"belongs at {profile.kind}/{profile.id}.toml"
            raise ProfileError(path, None, fact, "rename the file or correct id and kind")
    for fault in find_faults(path, profile, find_flaws):
        raise fault
    return profile


def examine_profile(path: Path, *rules: Rule) -> tuple[Profile | None, list[ProfileError]]:
    """Return a profile wherever it lies, and all that is wrong with it.

    ``rules`` are asked after :func:`find_flaws`, each only when those before it found nothing.
    The profile is None when the file cannot even be read as one.
    """
    try:
        profile = _parse(path, _read(path))
    except ProfileError as fault:
        return None, [fault]
    for rule in (find_flaws, *rules):
        faults = list(find_faults(path, profile, rule))
        if faults:
            return profile, faults
    return profile, []


def find_faults(path: Path, profile: Profile, rule: Rule) -> Iterator[ProfileError]:
    """Yield what a rule finds wrong, at its line of the file."""
    text = _read(path)
    for flaw in rule(profile):
        yield ProfileError(path, _line_of(text, list(flaw.keys)) or 1, flaw.fact, flaw.remedy)


def _parse(path: Path, text: str) -> Profile:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else None
        raise ProfileError(path, line, f"is not TOML: {error}", "correct the line") from error
    if document.get("schema") != SCHEMA:
        fact = f"schema is {document.get('schema')!r}, this program knows {SCHEMA}"
        line = _line_of(text, ["schema"]) or 1
        raise ProfileError(path, line, fact, "update the program or the file")
    try:
        return msgspec.convert(document, Profile, str_keys=True)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        keys = re.findall(r"[^.\[\]`]+", place)
        where = ".".join(keys) or "the file"
        unknown = re.search(r"unknown field `(.+)`", message)
        line = _line_of(text, [*keys, unknown[1]] if unknown else keys) or 1
        remedy = "see firmware_profiles/README.md for the fields"
        raise ProfileError(path, line, f"{where}: {message}", remedy) from error


def _profile_files(folder: Path, faults: list[ProfileError]) -> Iterator[Path]:
    paths = sorted(folder.glob("*/*.toml"))
    if not folder.is_dir():
        faults.append(ProfileError(folder, None, "is no folder", "create it or correct the path"))
    elif len(paths) > FILES_MAX:
        fact = f"holds {len(paths)} profiles, {FILES_MAX} are read"
        faults.append(ProfileError(folder, None, fact, "remove those that are not needed"))
    yield from paths[:FILES_MAX]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        fact = f"cannot be read: {error.strerror}"
        raise ProfileError(path, None, fact, "check the file and its permissions") from error
    if len(data) > FILE_BYTES_MAX:
        fact = f"is larger than {FILE_BYTES_MAX // 1024} KiB"
        raise ProfileError(path, None, fact, "a profile is data for one model: make it shorter")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ProfileError(path, line, "is not UTF-8", "save it as UTF-8") from error


def _line_of(text: str, keys: list[str]) -> int | None:
    """Return the line nearest to a key path like ``["points", "1", "dtype"]``, or None."""
    lines = text.splitlines()
    start, end = 0, len(lines)
    found: int | None = None
    for index, key in enumerate(keys):
        if key.isdigit():
            continue
        pattern = rf"\s*\[{re.escape(key)}\]" if index == 0 else r"(?!)"
        nth = (
            int(keys[index + 1]) if keys[index + 1 : index + 2] and keys[index + 1].isdigit() else 0
        )
        tables = [
            n for n in range(start, end) if re.match(rf"\s*\[\[{re.escape(key)}\]\]", lines[n])
        ]
        tables = tables or [n for n in range(start, end) if re.match(pattern, lines[n])]
        if nth < len(tables):
            start = found = tables[nth]
            following = (n for n in range(start + 1, end) if lines[n].lstrip().startswith("["))
            end = next(following, end)
            continue
        word = rf"\s*{re.escape(key)}\s*=" if found is None else rf".*\b{re.escape(key)}\s*="
        found = next((n for n in range(start, end) if re.match(word, lines[n])), found)
    return None if found is None else found + 1
