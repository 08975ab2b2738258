"""``schoolnode-hub roster``: a roster kept centrally, each school's part sealed to that school.

``seal`` needs no hub: any workstation of the district that has the schools' keys (``keys``) does
it, and names never reach the hub. ``sign`` then lets the hub vouch for what it cannot read.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn

from hub.command_options import DEFAULT_CONFIG, AsJson, ConfigFile, Open
from hub.errors import HubSetupError
from hub.locale.catalogue import Reader
from hub.locale.sentence import Sentence
from hub.roster_report import SealReport, show_keys, show_report, show_sent, show_signed
from hub.roster_split import Split, Splitter
from hub.school_keys import SchoolKeys, export_school_keys, read_school_keys, school_keys
from hub.server import HubParts
from hub.terminal import terminal_language
from provisioning.certificates import SCHOOL_MAX
from provisioning.durable_file import write_private
from sync.errors import SyncError
from sync.rosters.files import open_roster_files
from sync.rosters.offer import held_pieces, offer_rows
from sync.rosters.people import Line
from sync.rosters.reading import Reading, open_reading
from sync.rosters.sealed import FILE_BYTES_MAX, SUFFIX, parse_roster, sign_roster
from sync.store import connect_readonly

_SOURCE_BYTES_MAX = 4 * 1024**3
_MAP_BYTES_MAX = 16 * 1024 * 1024
_FILES_MAX = 65_535
_TOLD_EVERY_LINES = 5000


def roster_app(open_hub: Open, now_ms: Callable[[], int]) -> typer.Typer:
    """Return the commands; ``open_hub`` opens the hub that a configuration names."""
    say = Reader(terminal_language(os.environ)).say
    app = typer.Typer(
        help=say(
            Sentence("Rosters kept centrally: each school's part is sealed to that school alone.")
        )
    )

    @app.command(
        "keys",
        help=say(
            Sentence(
                "Write the schools' keys to a file, for sealing where the roster is kept. No secret"
                " is in it."
            )
        ),
    )
    def export_keys(
        out: Annotated[Path, typer.Option(help=say(Sentence("The file to write.")))],
        config: ConfigFile = DEFAULT_CONFIG,
        as_json: AsJson = False,
    ) -> None:
        _export_keys(open_hub, config, out, now_ms(), as_json=as_json)

    @app.command(
        "seal",
        help=say(
            Sentence(
                "Check a district's roster and seal each school's part; names are written nowhere"
                " in clear. Exit code 1 when a line or a school could not be taken; the other"
                " schools are sealed."
            )
        ),
    )
    def seal(
        source: Annotated[
            Path,
            typer.Argument(
                help=say(
                    Sentence(
                        "OneRoster CSV files (folder or ZIP), or one CSV with a column school;"
                        " UTF-8 or GB18030."
                    )
                )
            ),
        ],
        out: Annotated[
            Path | None, typer.Option(help=say(Sentence("The folder for the sealed files.")))
        ] = None,
        keys: Annotated[
            Path | None,
            typer.Option(
                help=say(
                    Sentence(
                        "The schools' keys, from schoolnode-hub roster keys; without it, of the hub"
                        " on this machine."
                    )
                )
            ),
        ] = None,
        root: Annotated[
            str | None,
            typer.Option(help=say(Sentence("The root's fingerprint that the keys must have."))),
        ] = None,
        mapping: Annotated[
            Path | None,
            typer.Option(
                "--map",
                help=say(
                    Sentence(
                        "A CSV with the columns code and school: which number at the hub a school"
                        " of the file has. Without it, names decide."
                    )
                ),
            ),
        ] = None,
        box: Annotated[
            list[str] | None,
            typer.Option(help=say(Sentence("SCHOOL:BOX, for a school that has several boxes."))),
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help=say(Sentence("Check and write nothing.")))
        ] = False,
        config: ConfigFile = DEFAULT_CONFIG,
        as_json: AsJson = False,
    ) -> None:
        if out is None and not dry_run:
            raise HubSetupError("name the folder for the sealed files with --out, or --dry-run")
        chosen = dict(_box_choice(each) for each in box or ())
        numbers = {} if mapping is None else _read_map(mapping)
        with _told(), _keys(open_hub, config, keys, root, now_ms()) as (known, at_hub):
            splitter = Splitter(known, numbers, chosen, now_ms(), os.urandom)
            report = _seal(source, None if dry_run else out, splitter, at_hub, quiet=as_json)
        show_report(replace(report, root=known.root), as_json=as_json)
        if not report.is_whole:
            raise typer.Exit(1)

    @app.command(
        "sign",
        help=say(
            Sentence(
                "Sign what was sealed elsewhere. The hub reads no name in it, and a box takes"
                " nothing unsigned."
            )
        ),
    )
    def sign(
        folder: Annotated[Path, typer.Argument(help=say(Sentence("The folder of --out.")))],
        config: ConfigFile = DEFAULT_CONFIG,
        as_json: AsJson = False,
    ) -> None:
        with open_hub(config) as parts:
            signed, refused = _sign(parts, folder)
        show_signed(signed, refused, as_json=as_json)
        if refused:
            raise typer.Exit(1)

    @app.command(
        "send",
        help=say(
            Sentence(
                "Sign sealed files and propose each to its school over the line; a person at the"
                " school takes it or not."
            )
        ),
    )
    def send(
        folder: Annotated[Path, typer.Argument(help=say(Sentence("The folder of --out.")))],
        config: ConfigFile = DEFAULT_CONFIG,
        as_json: AsJson = False,
    ) -> None:
        with open_hub(config) as parts:
            signed, refused = _sign(parts, folder)
            for path in signed:
                _propose(parts, _read(folder / path))
        show_sent(signed, refused, as_json=as_json)
        if refused:
            raise typer.Exit(1)

    return app


def _export_keys(open_hub: Open, config: Path, out: Path, made_ms: int, *, as_json: bool) -> None:
    with open_hub(config) as parts:
        write_private(out, export_school_keys(parts, made_ms))
        keys = school_keys(parts, made_ms)
    show_keys(len(keys.schools), keys.root, as_json=as_json)


def _seal(
    source: Path, out: Path | None, splitter: Splitter, at_hub: HubParts | None, *, quiet: bool
) -> SealReport:
    with open_reading(source, str(source), _SOURCE_BYTES_MAX) as reading:
        split = splitter.split(reading if quiet else replace(reading, lines=_watched(reading)))
        written = [] if out is None else _write_parts(out, split, at_hub)
        return SealReport(
            split=split,
            kind=reading.kind,
            encodings=reading.encodings,
            left_out=reading.left_out,
            signed=at_hub is not None,
            written=None if out is None else written,
            older=[] if out is None else _others(out, written),
        )


def _sign(parts: HubParts, folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    signed, refused = [], []
    for path in _sealed_files(folder):
        try:
            write_private(path, _vouched(parts, _read(path)))
        except (SyncError, HubSetupError) as error:
            refused.append((path.name, str(error)))
        else:
            signed.append(path.name)
    return signed, refused


@contextmanager
def _keys(
    open_hub: Open, config: Path, exported: Path | None, root: str | None, made_ms: int
) -> Iterator[tuple[SchoolKeys, HubParts | None]]:
    """Yield the schools' keys, and the hub that can sign when they are its own."""
    if exported is not None:
        yield read_school_keys(exported, root), None
        return
    with open_hub(config) as parts:
        yield school_keys(parts, made_ms), parts


def _watched(reading: Reading) -> Iterator[Line]:
    """Show on standard error how many lines were read."""
    columns = (TextColumn("{task.description}"),)
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("…", total=None)
        for count, line in enumerate(reading.lines):
            if count % _TOLD_EVERY_LINES == 0:
                progress.update(task, description=f"{count:,} …")
            yield line


def _write_parts(out: Path, split: Split, at_hub: HubParts | None) -> list[str]:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HubSetupError(f"{out}: cannot be made ({error.strerror}); name another") from error
    written = []
    for part in split.parts:
        if part.sealed is not None:
            name = f"school-{part.number}{SUFFIX}"
            sealed = part.sealed if at_hub is None else _signed(at_hub, part.sealed)
            write_private(out / name, sealed)
            written.append(name)
    return written


def _signed(parts: HubParts, sealed: bytes) -> bytes:
    return sign_roster(sealed, parts.node.signer, parts.node.sign)


def _vouched(parts: HubParts, sealed: bytes) -> bytes:
    """Sign what is sealed to a box of this district that is not revoked, and nothing else."""
    header = parse_roster(sealed).header
    box = parts.registry.box(header.box)
    if header.district != parts.config.district:
        raise HubSetupError(f"it is of the district {header.district}, not of this one; not signed")
    if box is None or box.binding.school != header.school:
        raise HubSetupError(f"school {header.school} has no box {header.box}; seal it again")
    if header.box in parts.registry.revoked:
        raise HubSetupError(f"box {header.box} is revoked; seal it again with new keys")
    return _signed(parts, sealed)


def _propose(parts: HubParts, sealed: bytes) -> None:
    school = parse_roster(sealed).header.school
    with closing(connect_readonly(parts.store)) as reader:
        held = held_pieces(reader, school)
    parts.node.record("roster_offer", offer_rows(school, sealed, held))


def _sealed_files(folder: Path) -> list[Path]:
    try:
        found = sorted(each for each in folder.iterdir() if each.suffix == SUFFIX)
    except OSError as error:
        raise HubSetupError(f"{folder}: cannot be read ({error.strerror}); name another") from error
    if not 0 < len(found) <= _FILES_MAX:
        raise HubSetupError(f"{folder}: holds {len(found)} sealed files; name the folder of --out")
    return found


def _others(out: Path, written: Sequence[str]) -> list[str]:
    """Return sealed files of an earlier time that were not replaced."""
    if not out.is_dir():
        return []
    return sorted(path.name for path in out.glob(f"*{SUFFIX}") if path.name not in set(written))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise HubSetupError(f"{path}: cannot be read ({error.strerror}); try again") from error


def _read_map(path: Path) -> dict[str, int]:
    found = {}
    with _told(), open_roster_files(path, str(path), _MAP_BYTES_MAX) as files:
        (table,) = list(files.tables.values())[:1]
        table.need(("code", "school"))
        for number, cells in table.lines(("code", "school")):
            code, school = (each.strip() for each in cells or ("", ""))
            if not code or not (school.isascii() and school.isdigit()):
                raise HubSetupError(
                    f"{path} line {number}: needs a school's code and its number at the hub"
                )
            found[code] = int(school)
    return found


def _box_choice(text: str) -> tuple[int, str]:
    school, _, box = text.partition(":")
    if not (school.isascii() and school.isdigit() and box and 0 < int(school) <= SCHOOL_MAX):
        raise HubSetupError(f"--box {text}: write SCHOOL:BOX, e.g. 17:0a1b2c3d")
    return int(school), box


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except SyncError as error:
        raise HubSetupError(str(error)) from error
