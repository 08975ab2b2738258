"""``schoolnode-hub lesson``: schedules one delivery lesson."""

import random
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import Annotated

import typer

from hub.command_options import DEFAULT_CONFIG, AsJson, ConfigFile, Open
from hub.errors import HubSetupError
from hub.lesson.pairing import read_calendar
from hub.lesson.request import LessonRequest, Party
from hub.lesson.schedule import PlanRefusedError, new_lesson_id, plan_lesson
from hub.locale.sentence import Sentence
from hub.terminal import print_json, say, tell, terminal_language
from sync.store import connect_readonly


def add_lesson_commands(app: typer.Typer, open_hub: Open, now_ms: Callable[[], int]) -> None:
    """Add the command to the hub's."""

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
            typer.Option(
                help=say(Sentence("When, e.g. 2026-09-01T10:00+08:00; or use --starts-in."))
            ),
        ] = None,
        starts_in: Annotated[float, typer.Option(help=say(Sentence("Seconds from now.")))] = 60.0,
        minutes: Annotated[float, typer.Option(help=say(Sentence("How long.")))] = 40.0,
        rehearsal: Annotated[
            bool, typer.Option("--rehearsal", help=say(Sentence("A trial before it counts.")))
        ] = False,
        substitute: Annotated[
            str,
            typer.Option(
                help=say(Sentence("A lesson whose recording is played when the flagship fails."))
            ),
        ] = "",
        config: ConfigFile = DEFAULT_CONFIG,
        as_json: AsJson = False,
    ) -> None:
        starts_ms = _moment(starts) if starts else now_ms() + int(starts_in * 1000)
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
            substitute=substitute,
        )
        name = new_lesson_id(random.SystemRandom())
        with open_hub(config) as parts, closing(connect_readonly(parts.store)) as store:
            calendar = read_calendar(
                store, request.parties, request.starts_ms, request.ends_ms, terminal_language()
            )
            try:
                plan = plan_lesson(name, request, calendar, now_ms())
            except PlanRefusedError as error:
                raise HubSetupError(" ".join(map(say, error.reasons))) from error
            parts.node.record_all(plan.rows)
        if as_json:
            print_json({"lesson": name, "starts_ms": starts_ms, "ends_ms": request.ends_ms})
        else:
            tell(
                Sentence(
                    "Lesson %(lesson)s is scheduled; the schools hear of it within seconds.",
                    {"lesson": name},
                )
            )


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
