"""``schoolnode-hub invite``, ``boxes``, ``revoke``: which boxes belong to the district."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from hub.command_options import DEFAULT_CONFIG, AsJson, ConfigFile, Open
from hub.errors import HubSetupError
from hub.locale.catalogue import DAY_MS
from hub.locale.sentence import Sentence
from hub.registry import EnrolledBox, box_row
from hub.terminal import print_json, say, tell
from provisioning.join_code import JoinCode, svg_qr, terminal_qr
from sync.logs.oplog import Row
from sync.store import connect_readonly


def add_box_commands(app: typer.Typer, open_hub: Open, now_ms: Callable[[], int]) -> None:
    """Add the commands to the hub's."""

    @app.command(help=say(Sentence("Print a join code with which one box of a school enrols.")))
    def invite(
        school: Annotated[
            int, typer.Option(help=say(Sentence("The school's number, 1 to 65535.")))
        ],
        name: Annotated[str, typer.Option(help=say(Sentence("The school's name.")))],
        name_en: Annotated[
            str, typer.Option(help=say(Sentence("The school's name in English.")))
        ] = "",
        role: Annotated[
            str | None,
            typer.Option(help=say(Sentence("flagship or receiver; receiver if it is new."))),
        ] = None,
        latitude: Annotated[
            float | None, typer.Option(help=say(Sentence("Degrees north.")))
        ] = None,
        longitude: Annotated[
            float | None, typer.Option(help=say(Sentence("Degrees east.")))
        ] = None,
        days: Annotated[
            int, typer.Option(min=1, max=90, help=say(Sentence("Days the code is valid.")))
        ] = 7,
        host: Annotated[
            str | None,
            typer.Option(
                help=say(Sentence("Which of the hub's names the box calls; the first if none."))
            ),
        ] = None,
        svg: Annotated[
            Path | None, typer.Option(help=say(Sentence("Also write the QR code here.")))
        ] = None,
        config: ConfigFile = DEFAULT_CONFIG,
        as_json: AsJson = False,
    ) -> None:
        if role not in {"flagship", "receiver", None}:
            raise HubSetupError(
                say(
                    Sentence(
                        "role %(role)s: a school is a flagship or a receiver", {"role": repr(role)}
                    )
                )
            )
        with open_hub(config, host) as parts:
            code = parts.desk.invite(school=school, school_name=name, valid_ms=days * DAY_MS)
            told = {
                "name": name,
                "name_en": name_en or None,
                "role": role,
                "latitude": latitude,
                "longitude": longitude,
            }
            parts.node.record("school", [_school_row(parts.store, school, told)])
        if svg is not None:
            svg.write_text(svg_qr(code))
        if as_json:
            print_json(
                {"school": school, "box": code.box, "code": code.text(), "typed": code.typed()}
            )
            return
        _show_code(code, school, name, days)

    @app.command(help=say(Sentence("List the boxes that have enrolled.")))
    def boxes(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
        with open_hub(config) as parts:
            listed = [
                {
                    "school": box.binding.school,
                    "name": box.school_name,
                    "box": box.binding.box,
                    "enrolled_ms": box.binding.not_before_ms,
                    "revoked": box.binding.box in parts.registry.revoked,
                }
                for box in parts.registry.boxes()
            ]
        if as_json:
            print_json({"boxes": listed})
        else:
            _show_boxes(listed)

    @app.command(
        help=say(
            Sentence(
                "Cut a lost or stolen box off for ever; an unused join code becomes worthless."
            )
        )
    )
    def revoke(
        box: Annotated[
            str,
            typer.Argument(help=say(Sentence("The box's id, as schoolnode-hub boxes lists it."))),
        ],
        config: ConfigFile = DEFAULT_CONFIG,
        as_json: AsJson = False,
    ) -> None:
        with open_hub(config) as parts:
            parts.desk.withdraw(box)
            enrolled = parts.registry.box(box)
            if enrolled is not None:
                parts.node.record_all(_revocation_rows(enrolled, now_ms()))
        if as_json:
            print_json({"revoked": box, "was_enrolled": enrolled is not None})
        else:
            _tell_revoked(box, enrolled)


def _show_code(code: JoinCode, school: int, name: str, days: int) -> None:
    Console().print(terminal_qr(code), highlight=False)
    tell(
        Sentence(
            "%(name)s (%(school)s): scan the code on the box, or run there:",
            {"name": name, "school": str(school)},
        )
    )
    typer.echo(f"  schoolnode claim '{code.typed()}'")
    tell(
        Sentence(
            "It enrols one box and is valid for %(days)s days. Show it to nobody else.",
            {"days": days},
        )
    )


def _show_boxes(listed: Sequence[Mapping[str, object]]) -> None:
    if not listed:
        tell(
            Sentence("No box has enrolled yet. Next: schoolnode-hub invite --school N --name NAME")
        )
        return
    heads = (Sentence("school"), Sentence("name"), Sentence("box"))
    table = Table(*map(say, heads), "", box=SIMPLE, pad_edge=False)
    for box in listed:
        standing = say(Sentence("revoked")) if box["revoked"] else ""
        table.add_row(str(box["school"]), str(box["name"]), str(box["box"]), standing)
    Console().print(table)


def _tell_revoked(box: str, enrolled: EnrolledBox | None) -> None:
    if enrolled is None:
        tell(Sentence("The join code of box %(box)s is worthless now.", {"box": box}))
        return
    tell(
        Sentence(
            "Box %(box)s of %(school)s is revoked; a hub that runs cuts it off within seconds."
            " Invite the school again for another box.",
            {"box": box, "school": enrolled.school_name},
        )
    )


def _revocation_rows(enrolled: EnrolledBox, now_ms: int) -> Mapping[str, Sequence[Row]]:
    audit: Row = {
        "school": enrolled.binding.school,
        "at_ms": now_ms,
        "who": "command line of the hub",
        "action": "revoke",
        "subject": enrolled.binding.box,
    }
    return {"box_certificate": [box_row(enrolled, revoked=True)], "audit_entry": [audit]}


def _school_row(store: Path, school: int, told: Mapping[str, str | float | None]) -> Row:
    """Return a school's row: what was told, and what is known already of the rest."""
    with closing(connect_readonly(store)) as reader:
        known = reader.execute("SELECT * FROM school WHERE school = ?", (school,)).fetchone()
    before = {column: known[column] if known else None for column in told}
    row: Row = {
        column: before[column] if value is None else value for column, value in told.items()
    }
    return {
        **row,
        "school": school,
        "name_en": row["name_en"] or row["name"],
        "role": row["role"] or "receiver",
    }
