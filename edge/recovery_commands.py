"""The command line's recovery code, forgetting and restoring."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from edge.config import load_config
from edge.control_client import ask_box
from edge.erasure_scan import find_in_files
from edge.errors import BoxSetupError
from edge.recovery_desk import CodeTyped, Forget, Restore
from edge.recovery_page import recovery_sheet, terminal_qr
from edge.recovery_words import (
    show_erasures,
    show_plan,
    show_proof,
    show_report,
    standing_lines,
    step_word,
)
from edge.terminal import print_json, retold, say, tell
from provisioning.identity import load_identity
from sync.persons.recovery import TYPED_CHARACTERS_MAX, parse_recovery_code
from sync.persons.vault import read_person_key

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help=say("The box's configuration file (TOML)."))
]
AsJson = Annotated[bool, typer.Option("--json", help=say("Print one JSON object instead of text."))]
_DEFAULT = Path("box.toml")
_POLL_S = 1.0

recovery_app = typer.Typer(
    help=say("The recovery code: what brings the school back on a spare box."), no_args_is_help=True
)


def add_recovery_commands(app: typer.Typer) -> None:
    app.add_typer(recovery_app, name="recovery")
    app.command(
        "forget",
        help=say("Forget a person for ever: name, card and guardian become unreadable everywhere."),
    )(forget)
    app.command(
        "restore",
        help="\n\n".join(
            (
                say(
                    "Rebuild the school on this box, a spare claimed for it,"
                    " with the recovery code."
                ),
                say(
                    "May be repeated after a cut or a wrong code; it goes on where it was."
                    " Exit code 1 unless all tables that the hub can read are equal at both ends."
                ),
            )
        ),
    )(restore)


@recovery_app.command(
    "new", help=say("Make the recovery code and print it, once; it is stored nowhere.")
)
def recovery_new(
    yes: Annotated[bool, typer.Option("--yes", help=say("Replace the code there is."))] = False,
    page: Annotated[
        Path | None,
        typer.Option(help=say("Also write a page to print here; delete it afterwards.")),
    ] = None,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    folder = load_config(config).folder
    before = ask_box(folder, "GET", "/recovery")
    if before["fingerprint"] and not yes:
        raise BoxSetupError(
            f"there is a recovery code already (key {before['fingerprint']}). A new one takes its"
            " place: the old paper opens nothing that is sealed from then on, but still what the"
            " hub holds from before; destroy it. To go on: schoolnode recovery new --yes"
        )
    if page is not None and page.exists():
        raise BoxSetupError(f"{page} exists; name a file that does not")
    code = parse_recovery_code(ask_box(folder, "POST", "/recovery/new")["code"])
    after = ask_box(folder, "GET", "/recovery")
    if page is not None:
        identity = load_identity(folder / "identity")
        content = recovery_sheet(code, identity.school_name, identity.school, after["fingerprint"])
        descriptor = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
    if as_json:
        print_json({"code": code.printed(), "fingerprint": after["fingerprint"]})
        return
    typer.echo(terminal_qr(code))
    typer.echo(f"\n  {code.printed()}\n")
    tell(
        "Write it down or print it now, twice, and keep it in two safes: it is stored nowhere and"
        " shown never again. With it and the hub, everything of this school can be read, names too."
    )
    tell("Then compare the paper: schoolnode recovery check")


@recovery_app.command(
    "status",
    help=say(
        "Show whether the school could be rebuilt now. Exit code 1 when it could not, with names."
    ),
)
def recovery_status(config: ConfigFile = _DEFAULT, as_json: AsJson = False) -> None:
    standing = ask_box(load_config(config).folder, "GET", "/recovery")
    if as_json:
        print_json(standing)
    else:
        for line in standing_lines(standing):
            typer.echo(line)
    if standing["fingerprint"] is None or standing["vault_waits"] or standing["keys_wait"]:
        raise typer.Exit(1)


@recovery_app.command("check", help=say("Ask for the code and tell whether it is the present one."))
def recovery_check(
    code_file: Annotated[
        Path | None, typer.Option(help=say("Read the code from this file; - is standard input."))
    ] = None,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    wish = CodeTyped(code=_typed_code(code_file))
    ask_box(load_config(config).folder, "POST", "/recovery/check", msgspec.json.encode(wish))
    if as_json:
        print_json({"present": True})
    else:
        tell("This is the school's present recovery code.")


def forget(
    student: Annotated[int | None, typer.Option(help=say("The person's ordinal."))] = None,
    name: Annotated[
        str | None, typer.Option(help=say("The person's name, if it is theirs alone."))
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help=say("Do it: there is no way back."))] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help=say("Only show what it concerns (the default)."))
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help=say("Show all erasures."))] = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    folder = load_config(config).folder
    if listed:
        answer = ask_box(folder, "GET", "/forget")
        if as_json:
            print_json(answer)
        else:
            show_erasures(answer)
        return
    wish = msgspec.json.encode(Forget(person=student, name=name))
    plan = ask_box(folder, "POST", "/forget/plan", wish)
    if dry_run or not yes:
        if as_json:
            print_json({**plan, "changed": False})
        else:
            show_plan(plan)
        return
    needles = _needles(folder, plan)
    before = find_in_files(folder, needles)
    if "key" not in needles or not before["key"]:
        raise BoxSetupError(
            "the search does not find the key where it lies, so it would prove nothing; nothing"
            " was changed. Run this as the user of the box, on the box"
        )
    proof = ask_box(folder, "POST", "/forget", msgspec.json.encode(Forget(person=plan["person"])))
    after = find_in_files(folder, needles)
    held = {what: [str(path) for path in paths] for what, paths in after.items() if paths}
    if as_json:
        control = [str(path) for path in before["key"]]
        print_json({**proof, "key_found_before": control, "found_after": held})
    else:
        show_proof(proof, [str(path) for path in before["key"]], held)
    if proof["open_now"] or "key" in held:
        raise typer.Exit(1)


def restore(
    code_file: Annotated[
        Path | None, typer.Option(help=say("Read the code from this file; - is standard input."))
    ] = None,
    older_vault: Annotated[
        bool,
        typer.Option("--older-vault", help=say("Take names from before the hub was set back.")),
    ] = False,
    without_names: Annotated[
        bool, typer.Option("--without-names", help=say("Bring back all but the vault."))
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help=say("Only show where the last restore stands."))
    ] = False,
    config: ConfigFile = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    folder = load_config(config).folder
    if not status:
        wish = Restore(
            code=_typed_code(code_file), older_vault=older_vault, without_names=without_names
        )
        ask_box(folder, "POST", "/restore", msgspec.json.encode(wish))
    report = _followed(folder) if not status else ask_box(folder, "GET", "/restore")
    if as_json:
        print_json(report)
    else:
        show_report(report)
    if report["step"] == "failed" or (report["step"] == "done" and not report["equal"]):
        raise typer.Exit(1)


def _typed_code(file: Path | None) -> str:
    """Return the code as typed; never from the command line, which others on the machine see."""
    if file is None:
        typed: str = typer.prompt(say("Recovery code"), hide_input=True)
        return typed
    try:
        if str(file) == "-":
            return sys.stdin.read(TYPED_CHARACTERS_MAX)
        with file.open(encoding="utf-8") as opened:
            return opened.read(TYPED_CHARACTERS_MAX)
    except (OSError, UnicodeDecodeError) as error:
        raise BoxSetupError(f"{file}: no recovery code can be read from it ({error})") from error


def _followed(folder: Path) -> dict[str, Any]:
    """Show progress until the restore ends; Ctrl-C leaves it running."""
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("…", total=None)
        while True:
            report = ask_box(folder, "GET", "/restore")
            if report["step"] in {"done", "failed", "idle"}:
                return report
            fetched = report["fetched"]
            progress.update(
                task,
                description=f"{step_word(report['step'])} {retold(report['detail'])}",
                completed=fetched["bytes"],
                total=fetched["bytes_total"] or None,
            )
            time.sleep(_POLL_S)


def _needles(folder: Path, plan: dict[str, Any]) -> dict[str, bytes]:
    """Return what must be nowhere afterwards: the key, and the name as programs write it."""
    needles: dict[str, bytes] = {}
    key = read_person_key(folder / "vault.db", plan["person"])
    if key:
        needles["key"] = key
    if plan["name"]:
        needles["name in UTF-8"] = plan["name"].encode()
        needles["name in GB18030"] = plan["name"].encode("gb18030")
    return needles
