"""``schoolnode keys``: who may read what this box seals, shown and decided."""

import getpass
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge.config import load_config
from edge.control import ask_box
from edge.key_desk import Closing, Decision, Opening, Rotation, SealedGroup
from sync.keys.recipients import TEXT_MAX

keys_app = typer.Typer(help="Who may read what this school seals, and the keys it is sealed with.")

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="The box's configuration file (TOML).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this, only say what would be.")]
Who = Annotated[str, typer.Option("--who", help="Who decides; stands in the audit log.")]
Sealed = Annotated[SealedGroup, typer.Argument(help="health or identity.")]
_DEFAULT = Path("box.toml")
_STANDINGS = {
    "own": "this box",
    "seen": "nobody decided",
    "confirmed": "confirmed",
    "revoked": "revoked",
    "elsewhere": "confirmed at another box or before a restore: confirm again",
    "disputed": "revoked at another box since: confirm again or revoke",
}


def _login() -> str:
    return getpass.getuser()[:TEXT_MAX]


@keys_app.command("recipients")
def show_recipients(config: ConfigFile = _DEFAULT, as_json: AsJson = False) -> None:
    """List everyone who is granted keys of this school, was, or asks to be."""
    told = ask_box(load_config(config).folder, "GET", "/keys")
    if as_json:
        shown = ("recipients", "released", "asked", "unreadable_grants")
        _print_json({name: told[name] for name in shown})
        return
    console = Console()
    table = Table("what", "name", "fingerprint", "standing", "reads", "first seen", "decided")
    for each in told["recipients"]:
        decided = f"{_day(each['decided_ms'])} {each['who'] or ''}" if each["decided_ms"] else "-"
        table.add_row(
            each["kind"],
            Text(each["name"]),
            each["fingerprint"],
            _STANDINGS[each["standing"]],
            ", ".join(each["reads"]) or "-",
            _day(each["first_ms"]),
            Text(decided),
        )
    console.print(table)
    for asked in told["asked"]:
        console.print(
            f"The district asks ({_day(asked['at_ms'])}, {asked['who']}): {asked['wish']}"
            f" {asked['subject']} {asked['fingerprint'] or ''}. You decide.",
            markup=False,
        )
    for grant in told["unreadable_grants"]:
        console.print(f"{grant['purpose']}: {grant['reason']}", markup=False)


@keys_app.command("list")
def show_keys(
    audience: Annotated[str | None, typer.Option(help="Only this one, e.g. s17.")] = None,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    """List the keys by audience, group and epoch, with how many readers each has."""
    told = ask_box(load_config(config).folder, "GET", "/keys")
    keys = [each for each in told["keys"] if audience in {None, each["audience"]}]
    if as_json:
        _print_json({"keys": keys, "keys_total": told["keys_total"]})
        return
    table = Table("audience", "group", "epoch", "begun", "ended", "sealed bytes", "readers")
    for each in keys:
        table.add_row(
            each["audience"],
            each["group"],
            str(each["epoch"]),
            _day(each["begun_ms"]),
            _day(each["ended_ms"]),
            str(each["sealed_bytes"]),
            str(len(each["readers"])),
        )
    Console().print(table)


@keys_app.command()
def confirm(
    fingerprint: Annotated[str, typer.Argument(help="The whole one, compared with its owner.")],
    who: Who = "",
    yes: Yes = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Let a key read: a further box of this school, or an escrow that the district proposes."""
    if not yes:
        _only_said(
            f"{fingerprint} would be granted every key of this school, names and health with it,"
            " all that was sealed and all that will be. It cannot be taken back for what it has"
            " read; keys revoke ends it for what is sealed later.",
            as_json=as_json,
        )
        return
    answer = _decide(config, "confirm", Decision(fingerprint=fingerprint, who=who or _login()))
    _say(answer, f"{answer['confirmed']} is confirmed as {answer['kind']}.", as_json=as_json)


@keys_app.command()
def revoke(
    fingerprint: Annotated[str, typer.Argument(help="As schoolnode keys recipients shows it.")],
    who: Who = "",
    yes: Yes = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Grant a key nothing further; what is sealed next begins new epochs without it."""
    if not yes:
        _only_said(
            f"{fingerprint} would be granted nothing further, and new epochs would begin. What it"
            " was granted stays readable to it.",
            as_json=as_json,
        )
        return
    answer = _decide(config, "revoke", Decision(fingerprint=fingerprint, who=who or _login()))
    _say(answer, f"{answer['revoked']} is granted nothing further.", as_json=as_json)


@keys_app.command()
def rotate(
    audience: Annotated[str | None, typer.Option(help="Only this one, e.g. s17.")] = None,
    group: Annotated[str | None, typer.Option(help="Only district, health or identity.")] = None,
    who: Who = "",
    yes: Yes = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Begin new epochs: keys in use seal nothing more; what they sealed stays readable."""
    folder = load_config(config).folder
    if not yes:
        told = ask_box(folder, "GET", "/keys")
        ending = [
            f"{each['audience']} {each['group']} epoch {each['epoch']}"
            for each in told["keys"]
            if each["ended_ms"] is None
            and audience in {None, each["audience"]}
            and group in {None, each["group"]}
        ]
        _only_said("Would end: " + ("; ".join(ending) or "nothing") + ".", as_json=as_json)
        return
    try:
        wish = msgspec.convert(
            {"who": who or _login(), "audience": audience, "group": group}, Rotation
        )
    except msgspec.ValidationError as error:
        raise typer.BadParameter("name the group district, health or identity") from error
    answer = ask_box(folder, "POST", "/keys/rotate", msgspec.json.encode(wish))
    _say(
        answer,
        f"{answer['ended']} keys seal nothing more; the next record of each begins an epoch.",
        as_json=as_json,
    )


@keys_app.command()
def release(
    group: Sealed,
    epochs: Annotated[
        str | None, typer.Option(help="Only these, e.g. 1,2; by default all, until unreleased.")
    ] = None,
    who: Who = "",
    yes: Yes = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Let the district's hub read a sealed group; nothing is sent again but the keys."""
    chosen = None if epochs is None else _numbers(epochs)
    if not yes:
        span = f"what epochs {epochs} sealed" if chosen else "all that was and will be sealed"
        _only_said(
            f"The district could read {group}: {span}. What it has read it keeps.",
            as_json=as_json,
        )
        return
    wish = msgspec.json.encode(Opening(who=who or _login(), group=group, epochs=chosen))
    answer = ask_box(load_config(config).folder, "POST", "/keys/release", wish)
    _say(
        answer,
        f"{group} is released: {answer['granted']} keys go to the district with the next exchange.",
        as_json=as_json,
    )


@keys_app.command()
def unrelease(
    group: Sealed,
    who: Who = "",
    yes: Yes = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    """End a release: what is sealed from now on the district cannot read."""
    if not yes:
        _only_said(
            f"New epochs of {group} would begin, closed to the district. What was released stays"
            " readable to it.",
            as_json=as_json,
        )
        return
    wish = msgspec.json.encode(Closing(who=who or _login(), group=group))
    answer = ask_box(load_config(config).folder, "POST", "/keys/unrelease", wish)
    _say(
        answer,
        f"{group} is closed to the district from the next record on. What was released stays"
        " readable to it.",
        as_json=as_json,
    )


def _numbers(epochs: str) -> list[int]:
    parts = [part.strip() for part in epochs.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise typer.BadParameter("epochs are numbers with commas between, e.g. 1,2")
    return [int(part) for part in parts]


def _decide(config: Path, what: str, wish: Decision) -> dict[str, Any]:
    body = msgspec.json.encode(wish)
    return ask_box(load_config(config).folder, "POST", f"/keys/{what}", body)


def _only_said(sentence: str, *, as_json: bool) -> None:
    _say({"done": False, "would": sentence}, f"{sentence} To do it, add --yes.", as_json=as_json)


def _say(answer: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        _print_json(answer)
    else:
        typer.echo(sentence)


def _day(moment_ms: int | None) -> str:
    if not moment_ms:
        return "-"
    return f"{datetime.fromtimestamp(moment_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))
