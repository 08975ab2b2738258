"""``schoolnode profile``: device profiles checked, simulated and recorded, without a box."""

import asyncio
import sys
import time
from collections.abc import Mapping
from datetime import timedelta, timezone, tzinfo
from pathlib import Path
from typing import Annotated

import typer

from drivers.errors import DriverError
from drivers.profile_recorder import LISTEN_S, record
from drivers.simulators.profile_device import ProfileDevice, parse_listen
from drivers.simulators.profile_services import SERVICES, Clockwork, ProfileService
from drivers.simulators.profile_speakers import Exchange
from drivers.transports.port_address import parse_port_address
from drivers.vector_proof import find_broken_vectors
from edge.errors import BoxSetupError
from edge.terminal import print_json, retold, say, tell
from firmware_profiles.catalog import ProfileError, examine_profile, find_faults, load_catalog
from firmware_profiles.doubts import find_doubts, find_hints
from firmware_profiles.model import Profile, ProfileId
from firmware_profiles.vector_text import render_vectors

profile_app = typer.Typer(
    help=say("Profiles of device models: check them, simulate them, record real devices.")
)

AsJson = Annotated[bool, typer.Option("--json", help=say("Print one JSON object instead of text."))]
Model = Annotated[
    str, typer.Argument(help=say("A profile's file, or the id of a bundled profile."))
]


@profile_app.command(
    "lint",
    help=say(
        "Check profile files: shape, rules, what their bytes mean; names what is unconfirmed, and"
        " sources without an address."
    ),
)
def profile_lint(
    files: Annotated[list[Path], typer.Argument(help=say("Profile files (TOML)."))],
    as_json: AsJson = False,
) -> None:
    faults, doubts, hints = list[ProfileError](), list[ProfileError](), list[ProfileError]()
    for file in files:
        profile, found = examine_profile(file, find_broken_vectors)
        faults += found
        if profile is not None:
            doubts += find_faults(file, profile, find_doubts)
            hints += find_faults(file, profile, find_hints)
    if as_json:
        told = {"faults": _lines(faults), "unconfirmed": _lines(doubts), "hints": _lines(hints)}
        print_json({"files": len(files), **told})
    else:
        for said in (*doubts, *hints):
            typer.echo(retold(str(said)))
        for fault in faults:
            typer.echo(retold(str(fault)), err=True)
        if not faults:
            tell("{count} checked, nothing wrong.", count=len(files))
    if faults:
        raise typer.Exit(1)


def _lines(found: list[ProfileError]) -> list[dict[str, str | int]]:
    return [
        {"file": str(each.path), "line": each.line or 1, "message": str(each)} for each in found
    ]


@profile_app.command(
    "simulate",
    help=say("Answer as a device of this profile does, until stopped; prints each exchange."),
)
def profile_simulate(
    profile: Model,
    listen: Annotated[
        str | None,
        typer.Option(
            help=say(
                "serial:PATH, tcp:HOST:PORT or modbus:HOST:PORT; http:HOST:PORT for a camera or an"
                " ISAPI terminal (user admin, password simulated)."
            )
        ),
    ] = None,
    calls: Annotated[
        str | None,
        typer.Option(help=say("HOST:PORT of the box that an attendance terminal calls.")),
    ] = None,
    held: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help=say(
                "POINT=VALUE the device shows; may be repeated. Of a camera an event, yes or no; of"
                " a terminal tap=NUMBER."
            ),
        ),
    ] = None,
    unit: Annotated[int | None, typer.Option(min=0, max=255, help=say("Its unit id."))] = None,
    baud: Annotated[
        int | None, typer.Option(min=300, max=921_600, help=say("Its speed on a serial line."))
    ] = None,
) -> None:
    model, shown = _find(profile), dict(_pair(text) for text in held or ())
    try:
        if model.links[0].type in SERVICES:
            clock = Clockwork(now_ms=_now_ms, zone=_zone())
            service = ProfileService(
                model, listen=listen, calls=calls, tell=_print_line, clock=clock, held=shown
            )
            asyncio.run(service.run(lambda: _print_line({"waiting": service.place})))
        if listen is None:
            raise BoxSetupError(say("{model} waits to be asked; say --listen.", model=model.id))
        if calls is not None:
            raise BoxSetupError(say("{model} never calls; leave --calls out.", model=model.id))
        device = ProfileDevice(
            model, parse_listen(listen), _print_exchange, unit=unit, baud=baud, held=shown
        )
        asyncio.run(device.run(lambda: _print_place(listen, device)))
    except DriverError as error:
        raise BoxSetupError(str(error)) from error
    except OSError as error:
        raise BoxSetupError(f"{listen or calls}: {error.strerror}; choose another place") from error
    except KeyboardInterrupt:
        return


@profile_app.command(
    "record",
    help=say(
        "Ask a real device what its profile reads, write the exchanges as vectors; it is never"
        " written to, and card numbers are replaced."
    ),
)
def profile_record(
    address: Annotated[
        str,
        typer.Argument(
            help=say(
                "serial:PORT?baud=9600&unit=1, tcp://HOST:PORT?unit=1 or modbus://HOST?unit=1."
            )
        ),
    ],
    profile: Annotated[
        str, typer.Option(help=say("A profile's file, or the id of a bundled profile."))
    ],
    to: Annotated[
        Path | None,
        typer.Option(help=say("Add the vectors to this file instead of printing them.")),
    ] = None,
    listen_s: Annotated[
        float, typer.Option(min=0.5, max=600, help=say("How long a card reader is listened to."))
    ] = LISTEN_S,
) -> None:
    model = _find(profile)
    try:
        vectors = asyncio.run(record(model, parse_port_address(address), listen_s))
    except DriverError as error:
        raise BoxSetupError(str(error)) from error
    text = render_vectors(vectors)
    if to is None:
        sys.stdout.write(text)
        return
    try:
        with to.open("a") as file:
            file.write(text)
    except OSError as error:
        raise BoxSetupError(f"{to}: {error.strerror}; name another file") from error
    tell("{count} exchanges were added to {file}.", count=len(vectors), file=to)


def _print_line(line: Mapping[str, object]) -> None:
    print_json(dict(line))
    sys.stdout.flush()


def _print_place(listen: str, device: ProfileDevice) -> None:
    chosen = listen.endswith(":0")
    print_json({"waiting": f"{listen[:-1]}{device.port}" if chosen else listen})
    sys.stdout.flush()


def _print_exchange(exchange: Exchange) -> None:
    line = {
        "heard": exchange.heard.hex(" "),
        "said": exchange.said.hex(" "),
        "values": exchange.values,
    }
    print_json(line)
    sys.stdout.flush()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000  # noqa: TID251 - the command is where its device's clock begins


def _zone() -> tzinfo:
    """Return this machine's own: terminals live by the clock on the wall."""
    return timezone(timedelta(seconds=time.localtime().tm_gmtoff))


def _pair(text: str) -> tuple[str, str]:
    point, equals, value = text.partition("=")
    if not equals:
        raise BoxSetupError(say("{text}: write --set POINT=VALUE.", text=text))
    return point, value


def _find(name: str) -> Profile:
    """Return the profile of a file or a bundled id; raises BoxSetupError with every fault."""
    bundled = load_catalog().profiles.get(ProfileId(name))
    if bundled is not None:
        return bundled
    profile, faults = examine_profile(Path(name))
    if faults or profile is None:
        raise BoxSetupError("\n".join(str(fault) for fault in faults))
    return profile
