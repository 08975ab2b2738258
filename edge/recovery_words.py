"""What the command line says of recovery codes, erasures and restores: answers as sentences."""

from typing import Any

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from edge.errors import BoxSetupError
from edge.terminal import moment, retold, say, tell


def step_word(step: str) -> str:
    """Return what a restore is doing."""
    return {
        "code": say("asking the hub for the vault"),
        "fetch": say("fetching the school's sealed records"),
        "keys": say("opening them"),
        "vault": say("opening the vault"),
        "compare": say("comparing with the hub"),
    }.get(step, say("No restore was begun."))


def standing_lines(standing: dict[str, Any]) -> list[str]:
    if standing["fingerprint"] is None:
        return [
            say(
                "No recovery code: with this box the names of all its {n} people would be lost."
                " Make one: schoolnode recovery new",
                n=standing["people"],
            )
        ]
    lines = [
        say(
            "Recovery code of {moment}, key {fingerprint}.",
            moment=moment(standing["made_ms"]),
            fingerprint=standing["fingerprint"],
        )
    ]
    stored = standing["stored"]
    if stored is None:
        lines.append(say("The hub holds no vault yet."))
    else:
        lines.append(
            say(
                "The hub holds vault {number} of {moment} (share {share}); this box's is number"
                " {own}.",
                number=stored["number"],
                moment=moment(stored["stored_ms"]),
                share=stored["generation"],
                own=standing["number"],
            )
        )
    if standing["vault_waits"]:
        lines.append(
            f"{say('A newer one waits to be sent.')} {retold(standing['detail'])}".rstrip()
        )
    if standing["keys_wait"]:
        lines.append(
            say("The hub lacks keys for this code yet: keep the former paper until it has them.")
        )
    return lines


def show_plan(plan: dict[str, Any]) -> None:
    console = Console()
    shown = plan["name"] or say("(the name does not open here)")
    heading = say("Person {number}: {name}", number=plan["person"], name=shown)
    console.print(heading, highlight=False, markup=False)
    table = Table(
        say("table"),
        say("rows"),
        say("sealed under the person's key"),
        say("free texts"),
        box=SIMPLE,
        pad_edge=False,
    )
    for each in plan["tables"]:
        table.add_row(each["table"], *(str(each[key]) for key in ("rows", "sealed_cells", "texts")))
    console.print(table)
    for line in plan["kept_elsewhere"]:
        console.print(say("Not concerned: {what}.", what=line), highlight=False, markup=False)
    console.print(
        say(
            "Nothing was changed. Forgetting destroys the person's key for ever; nobody can undo"
            " it. To do it: schoolnode forget --student {number} --yes",
            number=plan["person"],
        ),
        highlight=False,
        markup=False,
    )


def show_proof(proof: dict[str, Any], control: list[str], held: dict[str, list[str]]) -> None:
    person = proof["person"]
    tell("Person {number} is forgotten; nobody can undo it.", number=person)
    tell(
        "At the box: {before} sealed cells opened before, {now} do now. The key lay in {files}.",
        before=proof["opened_before"],
        now=proof["open_now"],
        files=", ".join(control),
    )
    if "key" in held:
        tell("It is still in {files}.", files=", ".join(held["key"]))
    else:
        tell("Now it is in no file of the box.")
    for what, paths in held.items():
        if what != "key":
            tell(
                "The {what} stands in {files}: written there by hand; look.",
                what=what,
                files=", ".join(paths),
            )
    if not proof["log_truncated"]:
        tell("The store's journal was in use and is emptied later; it holds no key.")
    hub = proof["hub"]
    if hub is None:
        waits = say("At the hub: its vault is not replaced yet.")
        typer.echo(f"{waits} {retold(proof['detail'])}".rstrip())
    else:
        tell(
            "At the hub: vault {number} without the key replaced the one before, under share"
            " {share}; SHA-256 {digest}, signed by the hub.",
            number=hub["number"],
            share=hub["generation"],
            digest=_hex(hub["digest"]),
        )
    tell("On USB sticks and in records everywhere: only cells sealed under that key.")
    if proof["complete_ms"] is not None:
        tell(
            "Complete on {moment}, when the hub's last own backup with the older share expires.",
            moment=moment(proof["complete_ms"]),
        )
    else:
        tell("The day of completion is known when the hub has answered: forget --list")


def show_erasures(answer: dict[str, Any]) -> None:
    if not answer["erasures"]:
        tell("Nobody was forgotten.")
        return
    table = Table(say("person"), say("forgotten"), say("complete"), box=SIMPLE, pad_edge=False)
    for each in answer["erasures"]:
        complete = say("waits for the hub") if each["waits"] else moment(each["complete_ms"])
        table.add_row(str(each["person"]), moment(each["at_ms"]), complete)
    Console().print(table)


def show_report(report: dict[str, Any]) -> None:
    fetched, vault = report["fetched"], report["vault"]
    if report["step"] == "failed":
        raise BoxSetupError(report["detail"])
    if report["step"] != "done":
        typer.echo(f"{step_word(report['step'])} {retold(report['detail'])}".rstrip())
        return
    tell(
        "Fetched {segments} of {all} segments ({bytes} of {all_bytes} bytes); took over {keys}"
        " keys.",
        segments=fetched["segments"],
        all=fetched["segments_total"],
        bytes=fetched["bytes"],
        all_bytes=fetched["bytes_total"],
        keys=report["keys"],
    )
    if vault is None:
        tell("The vault was left out: names do not open.")
    else:
        tell(
            "Vault {number} of {moment}: {names} of {people} names open; {forgotten} people stay"
            " forgotten.",
            number=vault["number"],
            moment=moment(vault["made_ms"]),
            names=report["names"],
            people=report["people"],
            forgotten=report["forgotten"],
        )
    table = Table(say("table"), say("here"), say("hub"), "", box=SIMPLE, pad_edge=False)
    for each in report["tables"]:
        mark = say("equal") if each["equal"] else say("DIFFERENT")
        table.add_row(each["table"], each["here"][:16], each["hub"][:16], mark)
    Console().print(table)
    if report["unopened"]:
        tell(
            "{n} parts do not open with this code: another took its place. Find that paper and"
            " restore again.",
            n=report["unopened"],
        )
    elif report["equal"]:
        tell("All tables that the hub can read are equal at both ends.")
    elif report["same_moment"]:
        tell("Some tables differ: keep the recovery code, and tell the district.")
    else:
        tell("No moment was found at which both held the same: restore again when it is calm.")
    for box in report["other_boxes"]:
        tell("If box {box} is the lost one, have it cut off: schoolnode-hub revoke {box}", box=box)
    tell("Device passwords were in the lost box alone: adopt cameras again with --password.")


def _hex(encoded: str) -> str:
    """Return JSON's base64 form of bytes as hexadecimal digits."""
    return msgspec.json.decode(msgspec.json.encode(encoded), type=bytes).hex()
