"""``schoolnode keys``: who may read what this box seals, shown and decided."""

import getpass
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from edge.config import load_config
from edge.control_client import ask_box
from edge.key_desk import Closing, Decision, Opening, Rotation, SealedGroup
from edge.terminal import moment, print_json, say, tell, terminal_language, who_word
from sync.keys.recipients import TEXT_MAX
from sync.schema.model import Group

keys_app = typer.Typer(
    help=say("Who may read what this school seals, and the keys it is sealed with.")
)

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help=say("The box's configuration file (TOML)."))
]
AsJson = Annotated[bool, typer.Option("--json", help=say("Print one JSON object instead of text."))]
Yes = Annotated[
    bool, typer.Option("--yes", help=say("Do it; without this, only say what would be."))
]
Who = Annotated[str, typer.Option("--who", help=say("Who decides; stands in the audit log."))]
Sealed = Annotated[SealedGroup, typer.Argument(help=say("health or identity."))]
_DEFAULT = Path("box.toml")


def _standings() -> dict[str, str]:
    return {
        "own": say("this box"),
        "seen": say("nobody decided"),
        "confirmed": say("confirmed"),
        "revoked": say("revoked"),
        "elsewhere": say("confirmed at another box or before a restore: confirm again"),
        "disputed": say("revoked at another box since: confirm again or revoke"),
    }


def _kinds() -> dict[str, str]:
    return {
        "box": say("box"),
        "hub": say("hub"),
        "partner": say("partner school's box"),
        "recovery": say("recovery code"),
        "escrow": say("escrow"),
    }


def _wishes() -> dict[str, str]:
    return {"release": say("a release of"), "escrow": say("an escrow of")}


def _group(name: str) -> str:
    groups = terminal_language().words.groups
    return groups[Group(name)] if name in set(Group) else name


def _login() -> str:
    return getpass.getuser()[:TEXT_MAX]


@keys_app.command(
    "recipients", help=say("List everyone who is granted keys of this school, was, or asks to be.")
)
def show_recipients(config: ConfigFile = _DEFAULT, as_json: AsJson = False) -> None:
    told = ask_box(load_config(config).folder, "GET", "/keys")
    if as_json:
        shown = ("recipients", "released", "asked", "unreadable_grants")
        print_json({name: told[name] for name in shown})
        return
    for each in told["recipients"]:
        for line in _recipient_lines(each):
            typer.echo(line)
    for asked in told["asked"]:
        tell(
            "The district asks ({moment}, {who}): {wish} {subject} {fingerprint}. You decide.",
            moment=moment(asked["at_ms"]),
            who=asked["who"],
            wish=_wishes().get(asked["wish"], asked["wish"]),
            subject=_group(asked["subject"]),
            fingerprint=asked["fingerprint"] or "",
        )
    for grant in told["unreadable_grants"]:
        tell(
            "A grant for {purpose} is of a kind that this version does not know; update this box.",
            purpose=grant["purpose"],
        )


def _recipient_lines(each: dict[str, Any]) -> Iterator[str]:
    """Return one recipient; its fingerprint stands whole on a line of its own, to be compared."""
    kind = _kinds().get(each["kind"], each["kind"])
    yield f"{kind} {each['name']}".rstrip() + f": {_standings()[each['standing']]}"
    yield f"  {each['fingerprint']}"
    reads = ", ".join(_group(name) for name in each["reads"]) or say("nothing")
    yield "  " + say(
        "reads {groups}; first seen {moment}", groups=reads, moment=moment(each["first_ms"])
    )
    if each["decided_ms"]:
        who = who_word(each["who"] or "")
        yield "  " + say("decided {moment} by {who}", moment=moment(each["decided_ms"]), who=who)


@keys_app.command(
    "list", help=say("List the keys by audience, group and epoch, with how many readers each has.")
)
def show_keys(
    audience: Annotated[str | None, typer.Option(help=say("Only this one, e.g. s17."))] = None,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    told = ask_box(load_config(config).folder, "GET", "/keys")
    keys = [each for each in told["keys"] if audience in {None, each["audience"]}]
    if as_json:
        print_json({"keys": keys, "keys_total": told["keys_total"]})
        return
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column(say("audience"), overflow="fold")
    for head in (say("group"), say("epoch"), say("begun"), say("ended"), say("bytes")):
        table.add_column(head)
    table.add_column(say("readers"), justify="right")
    size = terminal_language().size
    for each in keys:
        table.add_row(
            each["audience"],
            each["group"],
            str(each["epoch"]),
            moment(each["begun_ms"]),
            moment(each["ended_ms"]),
            size(each["sealed_bytes"]),
            str(len(each["readers"])),
        )
    Console().print(table)


@keys_app.command(
    help=say(
        "Let a key read: a further box of this school, or an escrow that the district proposes."
    )
)
def confirm(
    fingerprint: Annotated[
        str, typer.Argument(help=say("The whole one, compared with its owner."))
    ],
    who: Who = "",
    yes: Yes = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    if not yes:
        _only_said(
            say(
                "{fingerprint} would be granted every key of this school, names and health with it,"
                " all that was sealed and all that will be. It cannot be taken back for what it has"
                " read; keys revoke ends it for what is sealed later.",
                fingerprint=fingerprint,
            ),
            as_json=as_json,
        )
        return
    answer = _decide(config, "confirm", Decision(fingerprint=fingerprint, who=who or _login()))
    kind = _kinds().get(answer["kind"], answer["kind"])
    told = say("{fingerprint} is confirmed: {kind}.", fingerprint=answer["confirmed"], kind=kind)
    _answer(answer, told, as_json=as_json)


@keys_app.command(
    help=say("Grant a key nothing further; what is sealed next begins new epochs without it.")
)
def revoke(
    fingerprint: Annotated[
        str, typer.Argument(help=say("As schoolnode keys recipients shows it."))
    ],
    who: Who = "",
    yes: Yes = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    if not yes:
        _only_said(
            say(
                "{fingerprint} would be granted nothing further, and new epochs would begin. What"
                " it was granted stays readable to it.",
                fingerprint=fingerprint,
            ),
            as_json=as_json,
        )
        return
    answer = _decide(config, "revoke", Decision(fingerprint=fingerprint, who=who or _login()))
    told = say("{fingerprint} is granted nothing further.", fingerprint=answer["revoked"])
    _answer(answer, told, as_json=as_json)


@keys_app.command(
    help=say("Begin new epochs: keys in use seal nothing more; what they sealed stays readable.")
)
def rotate(
    audience: Annotated[str | None, typer.Option(help=say("Only this one, e.g. s17."))] = None,
    group: Annotated[
        str | None, typer.Option(help=say("Only district, health or identity."))
    ] = None,
    who: Who = "",
    yes: Yes = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    folder = load_config(config).folder
    if not yes:
        told = ask_box(folder, "GET", "/keys")
        ending = [
            f"{each['audience']} {each['group']} {each['epoch']}"
            for each in told["keys"]
            if each["ended_ms"] is None
            and audience in {None, each["audience"]}
            and group in {None, each["group"]}
        ]
        keys = "; ".join(ending) or say("nothing")
        _only_said(say("These epochs would end: {keys}.", keys=keys), as_json=as_json)
        return
    try:
        wish = msgspec.convert(
            {"who": who or _login(), "audience": audience, "group": group}, Rotation
        )
    except msgspec.ValidationError as error:
        raise typer.BadParameter(say("name the group district, health or identity")) from error
    answer = ask_box(folder, "POST", "/keys/rotate", msgspec.json.encode(wish))
    _answer(
        answer,
        say(
            "{n} keys seal nothing more; the next record of each begins an epoch.",
            n=answer["ended"],
        ),
        as_json=as_json,
    )


@keys_app.command(
    help=say("Let the district's hub read a sealed group; nothing is sent again but the keys.")
)
def release(
    group: Sealed,
    epochs: Annotated[
        str | None,
        typer.Option(help=say("Only these, e.g. 1,2; by default all, until unreleased.")),
    ] = None,
    who: Who = "",
    yes: Yes = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    chosen = None if epochs is None else _numbers(epochs)
    if not yes:
        span = say("all that was and will be sealed")
        if chosen:
            span = say("what epochs {epochs} sealed", epochs=epochs)
        _only_said(
            say(
                "The district could read {group}: {span}. What it has read it keeps.",
                group=_group(group),
                span=span,
            ),
            as_json=as_json,
        )
        return
    wish = msgspec.json.encode(Opening(who=who or _login(), group=group, epochs=chosen))
    answer = ask_box(load_config(config).folder, "POST", "/keys/release", wish)
    _answer(
        answer,
        say(
            "{group} is released: {n} keys go to the district with the next exchange.",
            group=_group(group),
            n=answer["granted"],
        ),
        as_json=as_json,
    )


@keys_app.command(help=say("End a release: what is sealed from now on the district cannot read."))
def unrelease(
    group: Sealed,
    who: Who = "",
    yes: Yes = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    if not yes:
        _only_said(
            say(
                "New epochs of {group} would begin, closed to the district. What was released"
                " stays readable to it.",
                group=_group(group),
            ),
            as_json=as_json,
        )
        return
    wish = msgspec.json.encode(Closing(who=who or _login(), group=group))
    answer = ask_box(load_config(config).folder, "POST", "/keys/unrelease", wish)
    _answer(
        answer,
        say(
            "{group} is closed to the district from the next record on. What was released stays"
            " readable to it.",
            group=_group(group),
        ),
        as_json=as_json,
    )


def _numbers(epochs: str) -> list[int]:
    parts = [part.strip() for part in epochs.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise typer.BadParameter(say("epochs are numbers with commas between, e.g. 1,2"))
    return [int(part) for part in parts]


def _decide(config: Path, what: str, wish: Decision) -> dict[str, Any]:
    body = msgspec.json.encode(wish)
    return ask_box(load_config(config).folder, "POST", f"/keys/{what}", body)


def _only_said(sentence: str, *, as_json: bool) -> None:
    to_do = say("To do it, add --yes.")
    _answer({"done": False, "would": sentence}, f"{sentence} {to_do}", as_json=as_json)


def _answer(answer: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        typer.echo(sentence)
