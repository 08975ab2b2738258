"""``schoolnode-hub courier``: takes in what schools sent by USB stick, and answers on it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from hub.command_options import DEFAULT_CONFIG, AsJson, ConfigFile, Open
from hub.errors import HubSetupError
from hub.locale.sentence import Bytes, Sentence
from hub.server import HubParts
from hub.terminal import print_json, retold, say, tell
from sync.courier.stick import (
    CourierFile,
    StickError,
    find_files,
    free_bytes,
    read_file,
    remove_others,
    write_file,
)
from sync.courier.trip import Inbound, Outbound, batches
from sync.errors import SyncError
from sync.segments.segment import HUB

Stick = Annotated[
    Path, typer.Argument(help=say(Sentence("The folder where the stick is mounted.")))
]
Size = Annotated[
    int, typer.Option(min=1, help=say(Sentence("At most so many MiB for each school.")))
]
_MIB = 1024 * 1024
_MARGIN_BYTES = 4 * _MIB


@dataclass(slots=True)
class Visit:
    """What one school's files on a stick brought, and what was written back for it."""

    school: int
    segments: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    is_proven: bool = False  # a file opened that the school signed
    answered: int = 0
    left_bytes: int = 0


def courier_app(open_hub: Open) -> typer.Typer:
    """Return the commands; ``open_hub`` opens the hub that a configuration names."""
    app = typer.Typer(help=say(Sentence("Sync by USB stick with schools that have no line.")))

    @app.command(
        "import",
        help="\n\n".join(
            (
                say(
                    Sentence(
                        "Take in what schools sent, and answer on the same stick; may be repeated."
                    )
                ),
                say(Sentence("Exit code 1 when a file or segment was refused.")),
            )
        ),
    )
    def import_from(
        stick: Stick,
        answer: Annotated[
            bool,
            typer.Option(
                help=say(Sentence("Write receipts and what the schools lack onto the stick."))
            ),
        ] = True,
        size: Size = 256,
        config: ConfigFile = DEFAULT_CONFIG,
        as_json: AsJson = False,
    ) -> None:
        with _told(), open_hub(config) as parts:
            files = [each for each in find_files(stick) if each.recipient == HUB]
            if not files:
                wrong = Sentence(
                    "%(stick)s: holds no courier file for the hub; at the school: schoolnode"
                    " courier export",
                    {"stick": str(stick)},
                )
                raise StickError(say(wrong))
            visits = _take_in(parts, files)
            if answer:
                for visit in visits:
                    if visit.is_proven:
                        _answer(parts, stick, visit, size * _MIB)
        _say(visits, as_json=as_json)

    @app.command(
        "export",
        help=say(
            Sentence("Write receipts and what schools lack onto a stick; only they can read it.")
        ),
    )
    def export_to(
        stick: Stick,
        school: Annotated[list[int], typer.Option(help=say(Sentence("For which schools.")))],
        size: Size = 256,
        config: ConfigFile = DEFAULT_CONFIG,
        as_json: AsJson = False,
    ) -> None:
        visits = [Visit(each) for each in school]
        with _told(), open_hub(config) as parts:
            enrolled = {box.binding.school for box in parts.registry.boxes()}
            for each in school:
                if each not in enrolled:
                    wrong = Sentence(
                        "school %(school)s has no box; schoolnode-hub boxes lists all",
                        {"school": str(each)},
                    )
                    raise HubSetupError(say(wrong))
            for visit in visits:
                _answer(parts, stick, visit, size * _MIB)
        _say(visits, as_json=as_json)

    return app


def _take_in(parts: HubParts, files: Sequence[CourierFile]) -> list[Visit]:
    inbound = Inbound(parts.node, parts.config.district)
    visits: dict[int, Visit] = {}
    for each in _shown(files):
        visit = visits.setdefault(each.origin, Visit(each.origin))
        try:
            part = inbound.open(read_file(each.path))
        except (StickError, SyncError) as error:
            visit.refused.append((each.path.name, str(error)))
            continue
        visit.is_proven = True
        inbound.take_receipts(part)
        for some in batches(part):
            done = inbound.take(part, some)
            visit.segments += done.stored
            visit.refused += [
                (each.path.name, f"{log} segment {seq}: {why}") for log, seq, why in done.refused
            ]
    return list(visits.values())


def _answer(parts: HubParts, stick: Path, visit: Visit, bytes_max: int) -> None:
    room = max(0, min(bytes_max, free_bytes(stick) - _MARGIN_BYTES))
    outbound = Outbound(parts.node, visit.school, parts.config.district, room, os.urandom)
    for number in range(1, outbound.parts + 1):
        write_file(stick, *outbound.part(number))
    remove_others(stick, HUB, visit.school, outbound.parts)
    visit.answered, visit.left_bytes = outbound.segments, outbound.left_bytes


def _shown(files: Sequence[CourierFile]) -> Iterator[CourierFile]:
    columns = (TextColumn(say(Sentence("reading files …"))), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(files)


def _say(visits: Sequence[Visit], *, as_json: bool) -> None:
    if as_json:
        schools = [asdict(visit) for visit in visits]
        print_json({"schools": schools})
    else:
        for visit in visits:
            tell(
                Sentence(
                    "School %(school)s: %(new)s new segments came, %(back)s go back with the"
                    " receipts.",
                    {"school": str(visit.school), "new": visit.segments, "back": visit.answered},
                )
            )
            if visit.left_bytes:
                left = Sentence(
                    "%(size)s did not fit; next time.", {"size": Bytes(visit.left_bytes)}
                )
                typer.echo(f"  {say(left)}")
            for name, reason in visit.refused:
                typer.echo(f"  {name}: {retold(reason)}", err=True)
    if any(visit.refused for visit in visits):
        raise typer.Exit(1)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except StickError as error:
        raise HubSetupError(str(error)) from error
