"""The school's command line."""

import asyncio
import base64
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from drivers.discovery.candidate import DeviceKind, Need
from drivers.entities import Outcome
from edge.announce import page_names
from edge.box_store import make_store, setup_code
from edge.config import load_config
from edge.control_client import Confirm, Release, ask_box
from edge.courier_commands import courier_app
from edge.demo.plan import load_demo_config
from edge.doctor import examine, examine_running
from edge.key_commands import keys_app
from edge.lesson_commands import lesson_app
from edge.pages.actions import Adopt, Command, Discover
from edge.pages.language import load_language
from edge.panel_commands import panels_app
from edge.profile_commands import profile_app
from edge.recovery_commands import add_recovery_commands
from edge.roster_commands import roster_app
from edge.sync_words import show_status
from edge.terminal import print_json, retold, say, tell, terminal_language
from provisioning.claim import claim as claim_box
from provisioning.join_code import parse_join_code

app = typer.Typer(
    help=say(
        "The school's box: finds and drives devices, keeps their data, syncs with the district's"
        " hub and shows delivery lessons."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
edge_app = typer.Typer(help=say("The daemon."), no_args_is_help=True)
sync_app = typer.Typer(
    help=say("What waits for the hub, what it has receipted, and what went wrong.")
)
app.add_typer(edge_app, name="edge")
app.add_typer(sync_app, name="sync", no_args_is_help=True)
app.add_typer(roster_app, name="roster", no_args_is_help=True)
add_recovery_commands(app)
app.add_typer(keys_app, name="keys", no_args_is_help=True)
app.add_typer(courier_app, name="courier", no_args_is_help=True)
app.add_typer(panels_app, name="panels", no_args_is_help=True)
app.add_typer(lesson_app, name="lesson", no_args_is_help=True)
app.add_typer(profile_app, name="profile", no_args_is_help=True)

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help=say("The box's configuration file (TOML)."))
]
AsJson = Annotated[bool, typer.Option("--json", help=say("Print one JSON object instead of text."))]
_DEFAULT = Path("box.toml")
_POLL_S = 0.3


@edge_app.command("run", help=say("Run the box until stopped."))
def edge_run(
    config: ConfigFile = _DEFAULT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help=say("Log more."))] = False,
) -> None:
    # Others need not wait for what only the daemon loads.
    from edge.daemon_process import run_daemon  # noqa: PLC0415 - above

    run_daemon(config, _now_ms, verbose=verbose)


@app.command(help=say("Enrol this box with a join code; may be repeated whatever went wrong."))
def claim(
    code: Annotated[str, typer.Argument(help=say("The join code from the district."))],
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    loaded = load_config(config)
    invitation = parse_join_code(code)
    names = page_names(loaded.pages, invitation.box)
    claimed = asyncio.run(
        claim_box(invitation, loaded.folder / "identity", lan_names=names, now_ms=_now_ms)
    )
    make_store(loaded.folder)
    identity = claimed.identity
    if as_json:
        print_json(
            {"school": identity.school, "school_name": identity.school_name, "box": identity.box}
        )
        return
    tell("This box now belongs to {school}.", school=identity.school_name)
    offset_ms = claimed.clock_offset_ms
    if offset_ms is not None and abs(offset_ms) > 60_000:  # noqa: PLR2004 - a minute
        tell(
            "Its clock is {n} s off the hub's; set it: timedatectl set-ntp true",
            n=f"{abs(offset_ms) / 1000:.0f}",
        )
    tell("Next: schoolnode edge run")


@app.command(
    help=say("Search for devices and list what waits to be adopted, each with its evidence.")
)
def discover(
    kind: Annotated[list[DeviceKind] | None, typer.Option(help=say("Only these kinds."))] = None,
    scan: Annotated[
        list[str] | None,
        typer.Option(
            help=say("A subnet to try address by address, e.g. 10.1.2.0/24; may be repeated.")
        ),
    ] = None,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    folder = load_config(config).folder
    wish = Discover(kinds=tuple(kind or ()), scan=" ".join(scan or ()))
    ask_box(folder, "POST", "/discover", msgspec.json.encode(wish))
    try:
        found = _follow_discovery(folder)
    except KeyboardInterrupt:
        ask_box(folder, "POST", "/discover/stop")
        tell("The search is stopped.")
        found = ask_box(folder, "GET", "/candidates")
    if as_json:
        print_json(found)
        return
    _show_unsearched(found["progress"]["unsearched"])
    _show_candidates(found["candidates"])


def _follow_discovery(folder: Path) -> dict[str, Any]:
    """Show how far the search is until it is over; return what waits to be adopted."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), console=Console(stderr=True), transient=True
    ) as progress:
        task = progress.add_task(say("searching …"), total=None)
        while True:
            time.sleep(_POLL_S)
            found = ask_box(folder, "GET", "/candidates")
            state = found["progress"]
            progress.update(
                task,
                description=retold(state["step"]) or say("searching …"),
                completed=state["done"],
                total=state["total"] or None,
            )
            if not state["running"] and state["finished_ms"]:
                return found


@app.command(help=say("Adopt a discovered device: the box drives it from now on."))
def adopt(
    identity: Annotated[str, typer.Argument(help=say("As schoolnode discover lists it."))],
    name: Annotated[str, typer.Option(help=say("What people call it."))],
    room: Annotated[str | None, typer.Option(help=say("Where it is."))] = None,
    profile: Annotated[
        str | None, typer.Option(help=say("Its model, where several might be it."))
    ] = None,
    ask_password: Annotated[
        bool, typer.Option("--password", help=say("Ask for the device's password."))
    ] = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    password = typer.prompt(say("Password"), hide_input=True) if ask_password else None
    wish = Adopt(identity=identity, name=name, room=room, password=password, profile=profile)
    answer = ask_box(load_config(config).folder, "POST", "/adopt", msgspec.json.encode(wish))
    if as_json:
        print_json(answer)
    else:
        tell("{name} is adopted as {device}.", name=name, device=answer["device"])


@app.command(
    help=say("Give an adopted device back: the box drives it no more; what it recorded stays.")
)
def release(
    device: Annotated[str, typer.Argument(help=say("The device's id."))],
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    wish = msgspec.json.encode(Release(device=device))
    answer = ask_box(load_config(config).folder, "POST", "/release", wish)
    if as_json:
        print_json(answer)
    else:
        tell("{device} is released; adopt it again after schoolnode discover.", device=device)


@app.command(help=say("Tell a device something; prints sent, acknowledged, verified or failed."))
def command(
    device: Annotated[str, typer.Argument(help=say("The device's id."))],
    name: Annotated[str, typer.Argument(help=say("The command, e.g. power."))],
    argument: Annotated[str | None, typer.Argument(help=say("Its value, e.g. on."))] = None,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    wish = Command(device=device, command=name, argument=argument)
    result = ask_box(load_config(config).folder, "POST", "/command", msgspec.json.encode(wish))
    if as_json:
        print_json(result)
    else:
        outcome = terminal_language().words.outcomes[Outcome(result["outcome"])]
        typer.echo(f"{outcome}: {retold(result['detail'])}".rstrip(": "))
    if result["outcome"] == "failed":
        raise typer.Exit(1)


@app.command(
    help=say(
        "Check this box; each finding names what to do. Exit code 1 when something needs doing."
    )
)
def doctor(
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
    save: Annotated[
        Path | None,
        typer.Option(
            help=say("Save an archive for a supporter: no names, cards or passwords are in it.")
        ),
    ] = None,
) -> None:
    language = load_language("en") if as_json else terminal_language()
    loaded = load_config(config)
    if save is not None:
        answer = ask_box(loaded.folder, "GET", "/diagnostics")
        save.write_bytes(base64.b64decode(answer["archive"]))
        tell("The archive is in {path}.", path=save)
        return
    findings = examine(loaded, _now_ms(), language) + examine_running(loaded, language)
    if as_json:
        print_json({"findings": [msgspec.to_builtins(finding) for finding in findings]})
    else:
        table = Table(box=SIMPLE, pad_edge=False)
        for head in ("", say("what"), say("found"), say("what to do")):
            table.add_column(head, overflow="fold")
        for finding in findings:
            table.add_row("ok" if finding.fine else "!!", *finding.words)
        Console().print(table)
    if not all(finding.fine for finding in findings):
        raise typer.Exit(1)


@app.command("setup-code", help=say("Print the code that opens the set-up page."))
def show_setup_code(config: ConfigFile = _DEFAULT) -> None:
    typer.echo(setup_code(load_config(config).folder))


@sync_app.command(
    "status",
    help=say(
        "Show how sync stands: each lane with its ages, what was received, clock, keys, recovery."
    ),
)
def sync_status(config: ConfigFile = _DEFAULT, as_json: AsJson = False) -> None:
    told = ask_box(load_config(config).folder, "GET", "/sync")
    if as_json:
        print_json(told)
    else:
        show_status(Console(), told, terminal_language())


@app.command(
    help=say(
        "Show a partner school's keys, or confirm one: only confirmed boxes are given lessons."
    )
)
def partners(
    school: Annotated[int, typer.Argument(help=say("The partner school's number."))],
    confirm: Annotated[
        str | None,
        typer.Option(
            help=say("Confirm this key, after comparing it with that school by telephone.")
        ),
    ] = None,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    folder = load_config(config).folder
    if confirm is not None:
        wish = msgspec.json.encode(Confirm(fingerprint=confirm))
        answer = ask_box(folder, "POST", f"/partners/{school}/confirm", wish)
    else:
        answer = ask_box(folder, "GET", f"/partners/{school}")
    if as_json:
        print_json(answer)
        return
    if confirm is not None:
        tell("School {school}'s key {key} is confirmed.", school=school, key=confirm)
        return
    if not answer["partners"]:
        tell("No box of school {school} is known here yet; has it enrolled?", school=school)
    for each in answer["partners"]:
        mark = say("confirmed") if each["confirmed"] else say("not confirmed")
        typer.echo(f"{say('school {school}', school=school)}: {each['fingerprint']} ({mark})")


@app.command(
    help="\n\n".join(
        (
            say("Run a district on this machine: one hub, three schools, simulated devices."),
            say("Exits 0 only if every step was really observed."),
        )
    )
)
def demo(
    for_s: Annotated[
        float | None,
        typer.Option("--for", help=say("Run this many seconds, then prove what was observed.")),
    ] = None,
    folder: Annotated[Path, typer.Option(help=say("Where its data lies."))] = Path("demo-data"),
    keep: Annotated[
        bool, typer.Option("--keep", help=say("Go on with the data of the last run."))
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help=say("A demo's configuration (TOML)."))
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help=say("Draws devices, addresses and pupils."))
    ] = None,
    as_json: AsJson = False,
) -> None:
    from edge.demo.run import DemoWish, run_demo  # noqa: PLC0415 - as edge_run does

    wanted = load_demo_config(config)
    if seed is not None:
        wanted = msgspec.structs.replace(wanted, seed=seed)
    wish = DemoWish(folder=folder, config=wanted, for_s=for_s, keep=keep)
    try:
        observed = asyncio.run(run_demo(wish, Console(stderr=as_json), _now_ms))
    except KeyboardInterrupt:
        typer.echo(
            say("Stopped. The data is in {folder}; go on with --keep.", folder=folder), err=True
        )
        return
    if as_json:
        print_json(observed)
    else:
        for name, value in observed.items():
            typer.echo(f"{name}: {value}")
    if observed["failed"]:
        raise typer.Exit(1)


def _show_unsearched(sentences: list[str]) -> None:
    if sentences:
        tell("Not everything could be searched:")
    for sentence in sentences:
        typer.echo(f"  {retold(sentence)}")


def _show_candidates(candidates: list[dict[str, Any]]) -> None:
    if not candidates:
        tell("Nothing new. Check cables and power, then search again.")
        return
    words = terminal_language().words
    for each in candidates:
        needs = words.needs[Need(each["needs"])]
        typer.echo(f"{retold(each['name'])}: {needs} ({float(each['confidence']):.0%})")
        typer.echo(f"  {each['identity']}")
        if each["choices"]:
            typer.echo(f"  --profile {' | '.join(each['choices'])}")
        if each["unconfirmed"]:
            names = ", ".join(words.part(name) for name in each["unconfirmed"])
            tell("  not wholly confirmed by a document: {names}", names=names)
        for item in each["evidence"]:
            typer.echo(f"  {words.method(item['method'])}: {retold(item['detail'])}")
    tell("Adopt one with: schoolnode adopt IDENTITY --name NAME --room ROOM")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
