"""``schoolnode panels``: every blackboard of a floor or the school at once, and by the clock."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from drivers.entities import Outcome
from edge.config import load_config
from edge.control_client import ask_box
from edge.panels.wishes import ForgetDaily, TellBoards, TellDaily, UnlockBoard
from edge.terminal import moment, print_json, retold, say, tell, terminal_language

panels_app = typer.Typer(help=say("Blackboards, panels and projectors together."))

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help=say("The box's configuration file (TOML)."))
]
AsJson = Annotated[bool, typer.Option("--json", help=say("Print one JSON object instead of text."))]
Rooms = Annotated[
    list[str] | None,
    typer.Option(
        "--room", help=say("A room, or a pattern like '3*' for a floor; may be repeated.")
    ),
]
Told = Annotated[str, typer.Argument(help=say("The command, e.g. power."))]
Value = Annotated[str, typer.Argument(help=say("Its value, e.g. on."))]
_DEFAULT = Path("box.toml")


@panels_app.command("tell", help=say("Tell all boards of the rooms; prints what came of each."))
def panels_tell(
    command: Told,
    argument: Value,
    room: Rooms = None,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    wish = TellBoards(command=command, argument=argument, rooms=tuple(room or ()))
    run = _ask(config, "/boards/tell", wish)
    if as_json:
        print_json(run)
    else:
        _show(run)
    good = {Outcome.VERIFIED, Outcome.ACKNOWLEDGED}
    if any(result["outcome"] not in good for result in run["results"].values()):
        raise typer.Exit(1)


@panels_app.command("unlock", help=say("Unlock a board for some minutes; then it locks again."))
def panels_unlock(
    device: Annotated[str, typer.Argument(help=say("The device's id."))],
    minutes: Annotated[int, typer.Option("--minutes", min=1, max=1440, help=say("How long."))],
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    result = _ask(config, "/boards/unlock", UnlockBoard(device=device, minutes=minutes))
    if as_json:
        print_json(result)
    elif result["outcome"] == Outcome.FAILED:
        _show(
            {"command": "lock", "argument": "off", "boards": [device], "results": {device: result}}
        )
    else:
        outcome = terminal_language().words.outcomes[Outcome(result["outcome"])]
        tell("{outcome}; locks again after {minutes} min.", outcome=outcome, minutes=minutes)
    if result["outcome"] == Outcome.FAILED:
        raise typer.Exit(1)


@panels_app.command("daily", help=say("Tell all boards of the rooms each day at a time."))
def panels_daily(
    name: Annotated[str, typer.Argument(help=say("What to call it, e.g. evening."))],
    at: Annotated[str, typer.Argument(help=say("The school's time, e.g. 18:00."))],
    command: Told,
    argument: Value,
    room: Rooms = None,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    wish = TellDaily(name=name, at=at, command=command, argument=argument, rooms=tuple(room or ()))
    kept = _ask(config, "/boards/daily", wish)
    if as_json:
        print_json(kept)
    else:
        tell("{name}: each day at {at}, {n} boards.", name=name, at=at, n=len(kept["boards"]))
        if not kept["boards"]:
            tell("No board is adopted in these rooms yet: nothing is told so far.")


@panels_app.command("forget", help=say("Take a daily order away."))
def panels_forget(
    name: Annotated[str, typer.Argument(help=say("What it is called."))],
    config: ConfigFile = _DEFAULT,
) -> None:
    _ask(config, "/boards/daily/forget", ForgetDaily(name=name))
    tell("{name} is done no more.", name=name)


@panels_app.command("list", help=say("Show the boards, daily orders, open locks and last orders."))
def panels_list(config: ConfigFile = _DEFAULT, as_json: AsJson = False) -> None:
    shown = ask_box(load_config(config).folder, "GET", "/boards")
    if as_json:
        print_json(shown)
        return
    for board in shown["boards"]:
        typer.echo(board)
    for daily in shown["dailies"]:
        rooms = " ".join(daily.get("rooms", ())) or "*"
        typer.echo(
            f"{daily['name']}: {daily['at']} {daily['command']} {daily['argument']} ({rooms})"
        )
    for lock in shown["relocks"]:
        tell("{device}: locks again at {at}", device=lock["device"], at=moment(lock["at_ms"]))
    for run in shown["runs"][:1]:
        _show(run)


def _show(run: dict[str, Any]) -> None:
    words = terminal_language().words
    typer.echo(f"{words.command(run['command'])} {words.value(run['argument'], run['command'])}")
    for board in run["boards"]:
        result = run["results"].get(board)
        if result is None:
            typer.echo(f"  {board}: …")
            continue
        outcome = words.outcomes[Outcome(result["outcome"])]
        typer.echo(f"  {board}: {outcome} {retold(result['detail'])}".rstrip())


def _ask(config: Path, path: str, wish: msgspec.Struct) -> dict[str, Any]:
    return ask_box(load_config(config).folder, "POST", path, msgspec.json.encode(wish))
