"""``schoolnode lesson``: the recordings on this box, listed, looked at, taken away as MP4."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from edge.config import load_config
from edge.control_client import ask_box, save_from_box
from edge.errors import BoxSetupError
from edge.pages.recording_words import recording_words
from edge.terminal import moment, print_json, say, tell, terminal_language
from sync.lessons.lesson_minutes import Disagreement

lesson_app = typer.Typer(help=say("Recorded lessons: what is kept, what is missing, as MP4."))

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help=say("The box's configuration file (TOML)."))
]
AsJson = Annotated[bool, typer.Option("--json", help=say("Print one JSON object instead of text."))]
Lesson = Annotated[
    str, typer.Argument(help=say("A lesson's id, as “schoolnode lesson list” says."))
]
_DEFAULT = Path("box.toml")


@lesson_app.command("list", help=say("List the lessons that were held, newest first."))
def list_lessons(config: ConfigFile = _DEFAULT, as_json: AsJson = False) -> None:
    told = ask_box(load_config(config).folder, "GET", "/lessons")
    if as_json:
        print_json(told)
        return
    if not told["lessons"]:
        tell("No lesson was held yet.")
        return
    table = Table(box=SIMPLE, pad_edge=False)
    for head in (say("lesson"), say("when"), say("title"), say("recording"), say("kept until")):
        table.add_column(head, overflow="fold")
    language = terminal_language()
    for each in told["lessons"]:
        until = say("protected") if each["protected"] else moment(each["kept_until_ms"])
        table.add_row(
            each["lesson"],
            moment(each["starts_ms"]),
            language.either(each["title_zh"], each["title_en"]),
            _state(each),
            until,
        )
    Console().print(table)


@lesson_app.command("show", help=say("Show one lesson: gaps, and what each school signed."))
def show_lesson(lesson: Lesson, config: ConfigFile = _DEFAULT, as_json: AsJson = False) -> None:
    told = ask_box(load_config(config).folder, "GET", f"/lessons/{_named(lesson)}")
    if as_json:
        print_json(told)
        return
    language = terminal_language()
    words = recording_words(language.translations.gettext)
    title = language.either(told["title_zh"], told["title_en"])
    typer.echo(f"{title}  {moment(told['starts_ms'])}  {_state(told)}")
    for gap in told["gaps"]:
        tell(
            "missing: track {track} from {time} for {seconds} s",
            track=gap["track"],
            time=moment(gap["from_ms"]),
            seconds=f"{gap['seconds']:.1f}",
        )
    for party in told["minutes"]:
        minutes = party["minutes"]
        if minutes is None:
            tell("{school}: not written down yet", school=party["name"])
            continue
        tell(
            "{school}: live {live} s, recorded {recorded} s, missing {missing} s, fingerprint"
            " {digest}",
            school=party["name"],
            live=minutes["live_s"],
            recorded=minutes["recorded_s"],
            missing=minutes["missing_s"],
            digest=party["digest"][:16],
        )
        if not party["signed"]:
            tell("{school}: the signature does not hold", school=party["name"])
        for found in party["disagreements"]:
            typer.echo(f"  {words.disagreements[Disagreement(found)]}")


@lesson_app.command(
    "export", help=say("Write a recording as one MP4 file that any player can show.")
)
def export_lesson(
    lesson: Lesson,
    to: Annotated[Path, typer.Option(help=say("The file to write; it must not be there yet."))],
    picture: Annotated[
        int,
        typer.Option(
            min=1,
            max=15,
            help=say("1 teacher, 5 blackboard, 7 document camera, 9 class called on."),
        ),
    ] = 1,
    config: ConfigFile = _DEFAULT,
) -> None:
    if to.exists():
        raise BoxSetupError(f"{to}: is there already; name another file")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(say("writing the file …"), total=None)
        path = f"/lessons/{_named(lesson)}/recording?picture={picture}"
        save_from_box(
            load_config(config).folder,
            path,
            to,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    tell("The recording is in {path}.", path=to)


@lesson_app.command("keep", help=say("Protect a recording: it stays whatever its age."))
def keep_lesson(
    lesson: Lesson,
    undo: Annotated[bool, typer.Option("--undo", help=say("Let it age again."))] = False,
    config: ConfigFile = _DEFAULT,
) -> None:
    wish = "let-go" if undo else "keep"
    ask_box(load_config(config).folder, "POST", f"/lessons/{_named(lesson)}/{wish}")
    if undo:
        tell("It goes when it is old enough.")
    else:
        tell("It stays until somebody removes it.")


def _state(told: dict[str, Any]) -> str:
    if told["running"]:
        return say("being recorded or filled up")
    if not told["here"]:
        return say("no longer kept") if told["gone_ms"] else say("nothing was recorded")
    size = terminal_language().size(told["bytes"])
    gaps = sum(len(take["gaps"]) for take in told["takes"])
    return say("{size}, {n} gaps", size=size, n=gaps) if gaps else say("{size}, whole", size=size)


def _named(lesson: str) -> str:
    if not lesson.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise BoxSetupError(f"{lesson[:48]} is no lesson's id; look at: schoolnode lesson list")
    return lesson
