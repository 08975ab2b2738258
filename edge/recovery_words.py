"""What the command line says of recovery codes, erasures and restores: answers as sentences."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from edge.errors import BoxSetupError

STEPS = {
    "code": "asking the hub for the vault",
    "fetch": "fetching the school's sealed records",
    "keys": "opening them",
    "vault": "opening the vault",
    "compare": "comparing with the hub",
}


def standing_lines(standing: dict[str, Any]) -> list[str]:
    if standing["fingerprint"] is None:
        lost = f"the names of all its {standing['people']} people"
        return [f"No recovery code: lost with this box, {lost}. Make one: schoolnode recovery new"]
    lines = [f"Recovery code of {_moment(standing['made_ms'])}, key {standing['fingerprint']}."]
    stored = standing["stored"]
    if stored is None:
        lines.append("The hub holds no vault yet.")
    else:
        lines.append(
            f"The hub holds vault {stored['number']} of {_moment(stored['stored_ms'])}"
            f" (share {stored['generation']}); this box's is number {standing['number']}."
        )
    if standing["vault_waits"]:
        lines.append(f"A newer one waits to be sent. {standing['detail']}".rstrip())
    if standing["keys_wait"]:
        lines.append("The hub lacks keys for this code yet: keep the former paper until it has.")
    return lines


def show_plan(plan: dict[str, Any]) -> None:
    console = Console()
    shown = plan["name"] or "(the name does not open here)"
    console.print(f"Person {plan['person']}: {shown}", highlight=False)
    table = Table("table", "rows", "sealed under the person's key", "free texts")
    for each in plan["tables"]:
        table.add_row(each["table"], *(str(each[key]) for key in ("rows", "sealed_cells", "texts")))
    console.print(table)
    for line in plan["kept_elsewhere"]:
        console.print(f"Not concerned: {line}.")
    console.print(
        "Nothing was changed. Forgetting destroys the person's key for ever; nobody can undo it."
        f" To do it: schoolnode forget --student {plan['person']} --yes",
        highlight=False,
    )


def show_proof(proof: dict[str, Any], control: list[str], held: dict[str, list[str]]) -> None:
    person = proof["person"]
    typer.echo(f"Person {person} is forgotten; nobody can undo it.")
    typer.echo(
        f"At the box: {proof['opened_before']} sealed cells opened before, {proof['open_now']} do"
        f" now. The key lay in {', '.join(control)} before; now it is"
        f" {'still in ' + ', '.join(held['key']) if 'key' in held else 'in no file of the box'}."
    )
    for what, paths in held.items():
        if what != "key":
            typer.echo(f"The {what} stands in {', '.join(paths)}: written there by hand; look.")
    if not proof["log_truncated"]:
        typer.echo("The store's journal was in use and is emptied later; it holds no key.")
    hub = proof["hub"]
    if hub is None:
        typer.echo(f"At the hub: its vault is not replaced yet. {proof['detail']}".rstrip())
    else:
        typer.echo(
            f"At the hub: vault {hub['number']} without the key replaced the one before, under"
            f" share {hub['generation']}; SHA-256 {_hex(hub['digest'])}, signed by the hub."
        )
    typer.echo("On USB sticks and in records everywhere: only cells sealed under that key.")
    if proof["complete_ms"] is not None:
        typer.echo(
            f"Complete on {_moment(proof['complete_ms'])}, when the hub's last own backup with the"
            " older share expires."
        )
    else:
        typer.echo("The day of completion is known when the hub has answered: forget --list")


def show_erasures(answer: dict[str, Any]) -> None:
    if not answer["erasures"]:
        typer.echo("Nobody was forgotten.")
        return
    table = Table("person", "forgotten", "complete")
    for each in answer["erasures"]:
        complete = "waits for the hub" if each["waits"] else _moment(each["complete_ms"])
        table.add_row(str(each["person"]), _moment(each["at_ms"]), complete)
    Console().print(table)


def show_report(report: dict[str, Any]) -> None:
    fetched, vault = report["fetched"], report["vault"]
    if report["step"] == "failed":
        raise BoxSetupError(report["detail"])
    if report["step"] != "done":
        typer.echo(f"{STEPS.get(report['step'], 'No restore was begun.')} {report['detail']}")
        return
    typer.echo(
        f"Fetched {fetched['segments']} of {fetched['segments_total']} segments"
        f" ({fetched['bytes']} of {fetched['bytes_total']} bytes); took over {report['keys']} keys."
    )
    if vault is None:
        typer.echo("The vault was left out: names do not open.")
    else:
        typer.echo(
            f"Vault {vault['number']} of {_moment(vault['made_ms'])}: {report['names']} of"
            f" {report['people']} names open; {report['forgotten']} people stay forgotten."
        )
    table = Table("table", "here", "hub", "")
    for each in report["tables"]:
        mark = "equal" if each["equal"] else "DIFFERENT"
        table.add_row(each["table"], each["here"][:16], each["hub"][:16], mark)
    Console().print(table)
    if report["unopened"]:
        typer.echo(
            f"{report['unopened']} parts do not open with this code: another took its place. Find"
            " that paper and restore again."
        )
    elif report["equal"]:
        typer.echo("All tables that the hub can read are equal at both ends.")
    elif report["same_moment"]:
        typer.echo("Some tables differ: keep the recovery code, and tell the district.")
    else:
        typer.echo(
            "No moment was found at which both held the same: restore again when it is calm."
        )
    for box in report["other_boxes"]:
        typer.echo(f"If box {box} is the lost one, have it cut off: schoolnode-hub revoke {box}")
    typer.echo("Device passwords were in the lost box alone: adopt cameras again with --password.")


def _hex(encoded: str) -> str:
    """Return JSON's base64 form of bytes as hexadecimal digits."""
    return msgspec.json.decode(msgspec.json.encode(encoded), type=bytes).hex()


def _moment(ms: int | None) -> str:
    if ms is None:
        return "-"
    return f"{datetime.fromtimestamp(ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M}"
