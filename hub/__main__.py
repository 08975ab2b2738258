"""The district's command line: ``schoolnode-hub``."""

import asyncio
import json
import logging
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from hub.config import HubConfig, load_config
from hub.courier_commands import courier_app
from hub.errors import HubSetupError
from hub.key_commands import keys_app
from hub.lesson.pairing import read_calendar
from hub.lesson.request import LessonRequest, Party
from hub.lesson.schedule import PlanRefusedError, new_lesson_id, plan_lesson
from hub.locale.sentence import Sentence
from hub.registry import box_row
from hub.roster_commands import roster_app
from hub.server import HubParts, open_hub, run_hub
from hub.terminal import say, tell, terminal_language
from provisioning.errors import ProvisioningError
from provisioning.join_code import svg_qr, terminal_qr
from sync.logs.oplog import Row
from sync.store import connect_readonly

app = typer.Typer(
    help=say(
        Sentence(
            "The district's hub: enrols boxes, folds what schools release, schedules and relays"
            " delivery lessons."
        )
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help=say(Sentence("The hub's configuration file (TOML).")))
]
AsJson = Annotated[
    bool, typer.Option("--json", help=say(Sentence("Print one JSON object instead of text.")))
]
_DEFAULT = Path("hub.toml")
_DAY_MS = 24 * 3600 * 1000

app.add_typer(
    courier_app(lambda config: open_hub(load_config(config), _now_ms)),
    name="courier",
    no_args_is_help=True,
)
app.add_typer(
    keys_app(
        lambda config: open_hub(load_config(config), _now_ms),
        lambda: _now_ms(),  # noqa: PLW0108 - defined below
    ),
    name="keys",
    no_args_is_help=True,
)
app.add_typer(
    roster_app(
        lambda config: open_hub(load_config(config), _now_ms),
        lambda: _now_ms(),  # noqa: PLW0108 - defined below
    ),
    name="roster",
    no_args_is_help=True,
)


def main() -> None:
    """Run the command line; an error is one sentence on standard error and exit code 1."""
    # What a service manager sends ends the daemon as Ctrl-C does: in order, with nothing lost.
    # A shell that starts it in the background would have it ignore both.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        app()
    except (HubSetupError, ProvisioningError) as error:
        sys.stderr.write(f"schoolnode-hub: {error}\n")
        sys.exit(1)


@app.command(
    help=say(
        Sentence(
            "Serve boxes and pages until stopped; makes the district's"
            " authority at the first start."
        )
    )
)
def run(
    config: ConfigFile = _DEFAULT,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help=say(Sentence("Log more.")))
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    loaded = load_config(config)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_hub(loaded, _now_ms))
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("stopped")
    except BaseExceptionGroup as group:
        raise _first_sentence(group) from group


@app.command(help=say(Sentence("Print a join code with which one box of a school enrols.")))
def invite(
    school: Annotated[int, typer.Option(help=say(Sentence("The school's number, 1 to 65535.")))],
    name: Annotated[str, typer.Option(help=say(Sentence("The school's name.")))],
    name_en: Annotated[str, typer.Option(help=say(Sentence("The school's name in English.")))] = "",
    role: Annotated[
        str | None, typer.Option(help=say(Sentence("flagship or receiver; receiver if it is new.")))
    ] = None,
    latitude: Annotated[float | None, typer.Option(help=say(Sentence("Degrees north.")))] = None,
    longitude: Annotated[float | None, typer.Option(help=say(Sentence("Degrees east.")))] = None,
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
    config: ConfigFile = _DEFAULT,
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
    with _opened(config, host) as (_, parts):
        code = parts.desk.invite(school=school, school_name=name, valid_ms=days * _DAY_MS)
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
        _print_json({"school": school, "box": code.box, "code": code.text(), "typed": code.typed()})
        return
    console = Console()
    console.print(terminal_qr(code), highlight=False)
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


@app.command(help=say(Sentence("List the boxes that have enrolled.")))
def boxes(config: ConfigFile = _DEFAULT, as_json: AsJson = False) -> None:
    with _opened(config) as (_, parts):
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
        _print_json({"boxes": listed})
        return
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


@app.command(
    help=say(
        Sentence("Cut a lost or stolen box off for ever; an unused join code becomes worthless.")
    )
)
def revoke(
    box: Annotated[
        str, typer.Argument(help=say(Sentence("The box's id, as schoolnode-hub boxes lists it.")))
    ],
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    with _opened(config) as (_, parts):
        parts.desk.withdraw(box)
        enrolled = parts.registry.box(box)
        if enrolled is not None:
            audit: Row = {
                "school": enrolled.binding.school,
                "at_ms": _now_ms(),
                "who": "command line of the hub",
                "action": "revoke",
                "subject": box,
            }
            parts.node.record_all(
                {"box_certificate": [box_row(enrolled, revoked=True)], "audit_entry": [audit]}
            )
    if as_json:
        _print_json({"revoked": box, "was_enrolled": enrolled is not None})
    elif enrolled is None:
        tell(Sentence("The join code of box %(box)s is worthless now.", {"box": box}))
    else:
        tell(
            Sentence(
                "Box %(box)s of %(school)s is revoked; a hub that runs cuts it off within seconds."
                " Invite the school again for another box.",
                {"box": box, "school": enrolled.school_name},
            )
        )


@app.command(
    help=say(Sentence("Print the code with which an administrator opens the hub's pages."))
)
def admin_code(config: ConfigFile = _DEFAULT) -> None:
    with _opened(config) as (_, parts):
        typer.echo(parts.admin_code)


@app.command(
    help=say(
        Sentence("Schedule one delivery lesson of a flagship class and its receiving classes.")
    )
)
def lesson(
    title: Annotated[str, typer.Option(help=say(Sentence("The lesson's title.")))],
    flagship: Annotated[
        str, typer.Option(help=say(Sentence("SCHOOL:CLASS:ROOM that gives the lesson.")))
    ],
    receiver: Annotated[
        list[str], typer.Option(help=say(Sentence("SCHOOL:CLASS:ROOM that takes it.")))
    ],
    title_en: Annotated[str, typer.Option(help=say(Sentence("Its title in English.")))] = "",
    subject: Annotated[
        str, typer.Option(help=say(Sentence("What the timetable shows.")))
    ] = "专递课堂",
    teacher: Annotated[str, typer.Option(help=say(Sentence("The teacher's name.")))] = "",
    starts: Annotated[
        str | None,
        typer.Option(help=say(Sentence("When, e.g. 2026-09-01T10:00+08:00; or use --starts-in."))),
    ] = None,
    starts_in: Annotated[float, typer.Option(help=say(Sentence("Seconds from now.")))] = 60.0,
    minutes: Annotated[float, typer.Option(help=say(Sentence("How long.")))] = 40.0,
    rehearsal: Annotated[
        bool, typer.Option("--rehearsal", help=say(Sentence("A trial before it counts.")))
    ] = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    starts_ms = _moment(starts) if starts else _now_ms() + int(starts_in * 1000)
    request = LessonRequest(
        kind="delivery",
        title_zh=title,
        title_en=title_en,
        subject=subject,
        teacher=teacher,
        starts_ms=starts_ms,
        ends_ms=starts_ms + int(minutes * 60_000),
        flagship=_party(flagship),
        receivers=tuple(_party(each) for each in receiver),
        rehearsal=rehearsal,
    )
    name = new_lesson_id(random.SystemRandom())
    with _opened(config) as (_, parts), closing(connect_readonly(parts.store)) as store:
        calendar = read_calendar(
            store, request.parties, request.starts_ms, request.ends_ms, terminal_language()
        )
        try:
            plan = plan_lesson(name, request, calendar, _now_ms())
        except PlanRefusedError as error:
            raise HubSetupError(" ".join(map(say, error.reasons))) from error
        parts.node.record_all(plan.rows)
    if as_json:
        _print_json({"lesson": name, "starts_ms": starts_ms, "ends_ms": request.ends_ms})
    else:
        tell(
            Sentence(
                "Lesson %(lesson)s is scheduled; the schools hear of it within seconds.",
                {"lesson": name},
            )
        )


@app.command(help=say(Sentence("Show a notice on the class cards of every school, or of one.")))
def notice(
    title: Annotated[str, typer.Option(help=say(Sentence("The notice's title.")))],
    title_en: Annotated[str, typer.Option(help=say(Sentence("Its title in English.")))] = "",
    body: Annotated[str, typer.Option(help=say(Sentence("Its text.")))] = "",
    body_en: Annotated[str, typer.Option(help=say(Sentence("Its text in English.")))] = "",
    school: Annotated[int, typer.Option(help=say(Sentence("For one school only; 0 for all.")))] = 0,
    days: Annotated[float, typer.Option(help=say(Sentence("How long class cards show it.")))] = 1.0,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    now_ms = _now_ms()
    name = f"{now_ms:x}"
    row: Row = {
        "school": school,
        "notice": name,
        "title_zh": title,
        "title_en": title_en or title,
        "body_zh": body,
        "body_en": body_en or body,
        "from_ms": now_ms,
        "until_ms": now_ms + int(days * _DAY_MS),
    }
    with _opened(config) as (_, parts):
        parts.node.record("notice", [row])
    if as_json:
        _print_json({"notice": name})
    else:
        whose = Sentence("school %(school)s", {"school": str(school)})
        tell(
            Sentence(
                "Notice %(notice)s is on its way to: %(school)s.",
                {"notice": name, "school": whose if school else Sentence("all schools")},
            )
        )


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


@contextmanager
def _opened(config: Path, host: str | None = None) -> Iterator[tuple[HubConfig, HubParts]]:
    loaded = load_config(config)
    with open_hub(loaded, _now_ms, host) as parts:
        yield loaded, parts


def _first_sentence(group: BaseExceptionGroup) -> BaseException:
    """Return the first error that is a sentence for a person, else the group."""
    found: BaseException | None = group.subgroup((HubSetupError, ProvisioningError))
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found or group


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        wrong = Sentence("%(text)s is no time; write 2026-09-01T10:00+08:00", {"text": repr(text)})
        raise HubSetupError(say(wrong)) from error
    if moment.tzinfo is None:
        wrong = Sentence("%(text)s names no time zone; write %(text)s+08:00", {"text": text})
        raise HubSetupError(say(wrong))
    return int(moment.timestamp() * 1000)


def _party(text: str) -> Party:
    parts = text.split(":")
    if len(parts) != 3 or not parts[0].isdigit() or not all(parts):  # noqa: PLR2004 - as the form
        wrong = Sentence(
            "%(text)s: write SCHOOL:CLASS:ROOM, e.g. 17:三年级:101", {"text": repr(text)}
        )
        raise HubSetupError(say(wrong))
    return Party(school=int(parts[0]), class_group=parts[1], room=parts[2])


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))


if __name__ == "__main__":
    main()
