"""``schoolnode-hub notice``: shows a notice on the schools' class cards."""

from collections.abc import Callable
from typing import Annotated

import typer

from hub.command_options import DEFAULT_CONFIG, AsJson, ConfigFile, Open
from hub.locale.catalogue import DAY_MS
from hub.locale.sentence import Sentence
from hub.terminal import print_json, say, tell
from sync.logs.oplog import Row


def add_notice_commands(app: typer.Typer, open_hub: Open, now_ms: Callable[[], int]) -> None:
    """Add the command to the hub's."""

    @app.command(help=say(Sentence("Show a notice on the class cards of every school, or of one.")))
    def notice(
        title: Annotated[str, typer.Option(help=say(Sentence("The notice's title.")))],
        title_en: Annotated[str, typer.Option(help=say(Sentence("Its title in English.")))] = "",
        body: Annotated[str, typer.Option(help=say(Sentence("Its text.")))] = "",
        body_en: Annotated[str, typer.Option(help=say(Sentence("Its text in English.")))] = "",
        school: Annotated[
            int, typer.Option(help=say(Sentence("For one school only; 0 for all.")))
        ] = 0,
        days: Annotated[
            float, typer.Option(help=say(Sentence("How long class cards show it.")))
        ] = 1.0,
        config: ConfigFile = DEFAULT_CONFIG,
        as_json: AsJson = False,
    ) -> None:
        from_ms = now_ms()
        name = f"{from_ms:x}"
        row: Row = {
            "school": school,
            "notice": name,
            "title_zh": title,
            "title_en": title_en or title,
            "body_zh": body,
            "body_en": body_en or body,
            "from_ms": from_ms,
            "until_ms": from_ms + int(days * DAY_MS),
        }
        with open_hub(config) as parts:
            parts.node.record("notice", [row])
        if as_json:
            print_json({"notice": name})
        else:
            whose = Sentence("school %(school)s", {"school": str(school)})
            tell(
                Sentence(
                    "Notice %(notice)s is on its way to: %(school)s.",
                    {"notice": name, "school": whose if school else Sentence("all schools")},
                )
            )
