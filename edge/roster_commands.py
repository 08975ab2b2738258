"""``schoolnode roster``: pupils and their cards, from a file the school or the district made."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.config import load_config
from edge.control_client import ask_box
from edge.errors import BoxSetupError
from edge.roster_upload import UPLOAD_BYTES_MAX
from edge.terminal import moment, print_json, say, tell

roster_app = typer.Typer(help=say("Pupils and their cards; names stay in the school."))

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help=say("The box's configuration file (TOML)."))
]
AsJson = Annotated[bool, typer.Option("--json", help=say("Print one JSON object instead of text."))]
_DEFAULT = Path("box.toml")


@roster_app.command(
    "import",
    help=say(
        "Show what a roster changes here, and take it once you say so; nobody is ever removed."
    ),
)
def roster_import(
    file: Annotated[
        Path | None,
        typer.Argument(
            help=say(
                "The district's sealed file, OneRoster CSV files in a ZIP, or one CSV with the"
                " columns name, class_group, card, code. Without it: what the district proposes"
                " over the line."
            )
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help=say("Take it without asking."))] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help=say("Only say what would change."))
    ] = False,
    older: Annotated[
        bool,
        typer.Option("--older", help=say("Take a sealed file older than the last one taken.")),
    ] = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    content = b"" if file is None else _read(file)
    folder = load_config(config).folder
    query = f"offered={int(file is None)}&older={int(older)}"
    seen = ask_box(folder, "POST", f"/roster/look?{query}", content)
    if not as_json:
        _show(seen)
    if dry_run or not (yes or _is_wanted(seen, as_json=as_json)):
        if as_json:
            print_json({**seen, "done": False})
        elif not dry_run:
            tell("Nothing was changed. To take it, add --yes.")
        return
    answer = ask_box(folder, "POST", f"/roster?{query}", content)
    if as_json:
        print_json({**answer, "done": True})
    else:
        tell(
            "{added} added, {known} were known already.",
            added=answer["added"],
            known=answer["already_known"],
        )


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(UPLOAD_BYTES_MAX + 1)
    except OSError as error:
        raise BoxSetupError(f"{file}: cannot be read ({error.strerror}); name another") from error
    if not content:
        raise BoxSetupError(f"{file}: it is empty; name another")
    if len(content) > UPLOAD_BYTES_MAX:
        raise BoxSetupError(f"{file}: over {UPLOAD_BYTES_MAX // 2**20} MiB; split it")
    return content


def _is_wanted(seen: dict[str, Any], *, as_json: bool) -> bool:
    if as_json or not sys.stdin.isatty():
        return False
    return typer.confirm(
        say("Take these {pupils} pupils and {staff} staff?", **_figures(seen)), default=False
    )


def _show(seen: dict[str, Any]) -> None:
    if seen["kind"] == "sealed":
        tell("The district sealed this roster to this box on {made}.", made=moment(seen["made_ms"]))
        if seen["is_older"]:
            tell(
                "It is OLDER than the one taken last, of {last}: fetch the newer one, or take it"
                " with --older.",
                last=moment(seen["last_ms"]),
            )
    for name, encoding in seen["encodings"].items():
        tell("{name}: read as {encoding}", name=name, encoding=encoding)
    if seen["left_out"]:
        tell("Columns not read: {names}", names=", ".join(seen["left_out"]))
    difference = seen["difference"]
    tell(
        "{pupils} pupils, {staff} staff; {known} known.",
        known=difference["already_known"],
        **_figures(seen),
    )
    changes = {
        "added": say("{n} added", n=difference["added"]),
        "renamed": say("{n} with another name", n=difference["renamed"]),
        "card_changed": say("{n} with another card", n=difference["card_changed"]),
        "code_changed": say("{n} with another code", n=difference["code_changed"]),
        "class_changed": say("{n} in another class", n=difference["class_changed"]),
        "staff_changed": say("{n} of the staff, new or changed", n=difference["staff_changed"]),
    }
    for field, words in changes.items():
        if difference[field]:
            typer.echo(f"  {words}")
    for before, after in difference["examples"]:
        typer.echo(f"    {before} → {after}")
    if difference["absent"]:
        absent = say(
            "{n} people here are not in it; they stay. Who has left for good: schoolnode forget",
            n=difference["absent"],
        )
        typer.echo(f"  {absent}")


def _figures(seen: dict[str, Any]) -> dict[str, int]:
    return {"pupils": seen["pupils"], "staff": seen["staff"]}
