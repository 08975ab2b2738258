"""The district's command line: ``schoolnode-hub``."""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from hub.box_commands import add_box_commands
from hub.command_options import DEFAULT_CONFIG, ConfigFile
from hub.config import load_config
from hub.courier_commands import courier_app
from hub.errors import HubSetupError
from hub.key_commands import keys_app
from hub.lesson_commands import add_lesson_commands
from hub.locale.sentence import Sentence
from hub.notice_commands import add_notice_commands
from hub.roster_commands import roster_app
from hub.server import HubParts, open_hub, run_hub
from hub.terminal import retold, say
from provisioning.errors import ProvisioningError

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


def main() -> None:
    """Run the command line; an error is one sentence on standard error and exit code 1."""
    # What a service manager sends ends the daemon as Ctrl-C does: in order, with nothing lost.
    # A shell that starts it in the background would have it ignore both.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        app()
    except (HubSetupError, ProvisioningError) as error:
        sys.stderr.write(f"schoolnode-hub: {retold(str(error))}\n")
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
    config: ConfigFile = DEFAULT_CONFIG,
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


@app.command(
    help=say(Sentence("Print the code with which an administrator opens the hub's pages."))
)
def admin_code(config: ConfigFile = DEFAULT_CONFIG) -> None:
    with _open_hub(config) as parts:
        typer.echo(parts.admin_code)


@contextmanager
def _open_hub(config: Path, host: str | None = None, /) -> Iterator[HubParts]:
    with open_hub(load_config(config), _now_ms, host) as parts:
        yield parts


def _first_sentence(group: BaseExceptionGroup) -> BaseException:
    """Return the first error that is a sentence for a person, else the group."""
    found: BaseException | None = group.subgroup((HubSetupError, ProvisioningError))
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found or group


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


add_box_commands(app, _open_hub, _now_ms)
add_lesson_commands(app, _open_hub, _now_ms)
add_notice_commands(app, _open_hub, _now_ms)
app.add_typer(courier_app(_open_hub), name="courier", no_args_is_help=True)
app.add_typer(keys_app(_open_hub, _now_ms), name="keys", no_args_is_help=True)
app.add_typer(roster_app(_open_hub, _now_ms), name="roster", no_args_is_help=True)


if __name__ == "__main__":
    main()
