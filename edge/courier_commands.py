"""``schoolnode courier``: sync by USB stick where there is no line, or none that suffices."""

import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from edge.config import load_config
from edge.control_client import ask_box
from edge.courier_desk import Trip
from edge.errors import BoxSetupError
from edge.terminal import print_json, retold, say, tell, terminal_language

courier_app = typer.Typer(
    help=say("Sync by USB stick: what waits for the hub, and what it answers.")
)

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help=say("The box's configuration file (TOML)."))
]
AsJson = Annotated[bool, typer.Option("--json", help=say("Print one JSON object instead of text."))]
Stick = Annotated[Path, typer.Argument(help=say("The folder where the stick is mounted."))]
_DEFAULT = Path("box.toml")
_MIB = 1024 * 1024
_POLL_S = 0.3


@courier_app.command(
    "export",
    help=say(
        "Write what the hub lacks onto a stick, alarms first; nobody but the hub can read it."
    ),
)
def export_to(
    stick: Stick,
    size: Annotated[int, typer.Option(min=1, help=say("At most so many MiB."))] = 1024,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    trip = Trip(errand="export", stick=str(stick.absolute()), bytes_max=size * _MIB)
    told = _make(config, trip, say("writing files …"), as_json=as_json)
    if as_json:
        return
    tell(
        "{segments} segments in {files} files are on the stick.",
        segments=told["segments"],
        files=told["total"],
    )
    if told["left_bytes"]:
        left = terminal_language().size(told["left_bytes"])
        tell("{size} did not fit: they come with the next trip.", size=left)
    tell("Unmount it. At the hub: schoolnode-hub courier import STICK. Then bring it back.")


@courier_app.command(
    "import",
    help="\n\n".join(
        (
            say("Take in what the hub sent by stick, and its receipts; may be repeated."),
            say("Exit code 1 when a file or segment was refused."),
        )
    ),
)
def import_from(stick: Stick, config: ConfigFile = _DEFAULT, as_json: AsJson = False) -> None:
    trip = Trip(errand="import", stick=str(stick.absolute()))
    told = _make(config, trip, say("reading files …"), as_json=as_json)
    if not as_json:
        tell("{n} new segments came from the hub.", n=told["segments"])
        _say_receipts(told)
    _refuse(told, as_json=as_json)


@courier_app.command(
    "receipt",
    help=say(
        "Take in only what the hub says it holds; exported rows that it holds are not sent again."
    ),
)
def take_receipt(stick: Stick, config: ConfigFile = _DEFAULT, as_json: AsJson = False) -> None:
    trip = Trip(errand="receipt", stick=str(stick.absolute()))
    told = _make(config, trip, say("reading files …"), as_json=as_json)
    if not as_json:
        _say_receipts(told)
    _refuse(told, as_json=as_json)


def _make(config: Path, trip: Trip, doing: str, *, as_json: bool) -> dict[str, Any]:
    """Have the daemon make a trip and wait for its end."""
    folder = load_config(config).folder
    ask_box(folder, "POST", "/courier", msgspec.json.encode(trip))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=None)
        while True:
            told = ask_box(folder, "GET", "/courier")
            progress.update(task, completed=told["done"], total=told["total"] or None)
            if not told["running"]:
                break
            time.sleep(_POLL_S)
    if told["error"]:
        raise BoxSetupError(told["error"])
    if as_json:
        print_json(told)
    return told


def _say_receipts(told: dict[str, Any]) -> None:
    said = {
        "taken": say("The hub's receipts are taken: schoolnode sync status shows them."),
        "old": say("The stick's receipts are older than what is known; passed over."),
        "none": say("No receipts could be read."),
    }
    typer.echo(said[told["receipts"]])


def _refuse(told: dict[str, Any], *, as_json: bool) -> None:
    if not as_json:
        for name, reason in told["files"]:
            typer.echo(f"{name}: {retold(reason)}", err=True)
    if told["files"]:
        raise typer.Exit(1)
