"""What sealing a roster came to: as sentences in the terminal's language, or as JSON."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import typer

from hub.locale.catalogue import Reader
from hub.locale.sentence import Sentence
from hub.roster_split import Problems, SchoolPart, Split
from hub.roster_words import problem_sentence
from hub.terminal import print_json, retold, terminal_language


@dataclass(frozen=True, slots=True, kw_only=True)
class SealReport:
    """``written`` are the files' names, None for a dry run; ``older`` were left as they were."""

    split: Split
    kind: str
    encodings: Mapping[str, str]
    left_out: Sequence[str]
    signed: bool
    written: Sequence[str] | None
    older: Sequence[str]
    root: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether every line and every school was taken."""
        parts = self.split.parts
        faulty = any(part.refusal is not None or part.problems.count for part in parts)
        return not (faulty or self.split.unplaced.count)


def show_keys(schools: int, root: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"schools": schools, "root": root})
        return
    _say(
        Sentence(
            "%(schools)s schools. Compare this fingerprint of the district's root where you seal:"
            " %(root)s",
            {"schools": schools, "root": root},
        ),
        _reader(),
    )


def show_signed(
    signed: Sequence[str], refused: Sequence[tuple[str, str]], *, as_json: bool
) -> None:
    if as_json:
        print_json({"signed": signed, "refused": refused})
        return
    for name, reason in refused:
        typer.echo(f"{name}: {retold(reason)}", err=True)
    _say(
        Sentence(
            "%(n)s files are signed. At each school: schoolnode roster import FILE",
            {"n": len(signed)},
        ),
        _reader(),
    )


def show_sent(sent: Sequence[str], refused: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    if as_json:
        print_json({"sent": sent, "refused": refused})
        return
    for name, reason in refused:
        typer.echo(f"{name}: {retold(reason)}", err=True)
    _say(
        Sentence(
            "%(n)s rosters are proposed. At each school: schoolnode roster import",
            {"n": len(sent)},
        ),
        _reader(),
    )


def show_report(report: SealReport, *, as_json: bool) -> None:
    reader = _reader()
    if as_json:
        print_json(_as_json(report, reader))
        return
    for name, encoding in report.encodings.items():
        typer.echo(f"{name}: {encoding}")
    if report.left_out:
        names = ", ".join(report.left_out)
        _say(Sentence("Columns not read: %(names)s", {"names": names}), reader)
    for part in report.split.parts:
        _say(_part_sentence(part), reader)
        if part.refusal is not None:
            typer.echo(f"  {reader.say(part.refusal)}", err=True)
        _show_problems(part.problems, reader)
    if report.split.unplaced.count:
        typer.echo(reader.say(Sentence("Of no school:")), err=True)
        _show_problems(report.split.unplaced, reader)
    _say(_outcome(report), reader)
    if report.older:
        names = ", ".join(report.older)
        _say(
            Sentence("Left from an earlier time, not written now: %(names)s", {"names": names}),
            reader,
        )


def _part_sentence(part: SchoolPart) -> Sentence:
    return Sentence(
        "%(school)s %(name)s: %(pupils)s pupils, %(staff)s staff, %(classes)s classes,"
        " %(problems)s problems",
        {
            "school": "?" if part.number is None else str(part.number),
            "name": part.name,
            "pupils": part.pupils,
            "staff": part.staff,
            "classes": part.classes,
            "problems": part.problems.count,
        },
    )


def _outcome(report: SealReport) -> Sentence:
    if report.written is None:
        return Sentence("Nothing was written: this was a dry run.")
    if report.signed:
        return Sentence(
            "%(n)s files are sealed and signed. At each school: schoolnode roster import FILE",
            {"n": len(report.written)},
        )
    return Sentence(
        "%(n)s files are sealed under the keys of the root %(root)s. They count once the hub has"
        " signed them; there: schoolnode-hub roster sign FOLDER",
        {"n": len(report.written), "root": report.root},
    )


def _as_json(report: SealReport, reader: Reader) -> dict[str, object]:
    return {
        "kind": report.kind,
        "encodings": dict(report.encodings),
        "left_out": list(report.left_out),
        "root": report.root,
        "signed": report.signed,
        "dry_run": report.written is None,
        "written": list(report.written or ()),
        "older": list(report.older),
        "schools": [_part_told(part, reader) for part in report.split.parts],
        "unplaced": _problems_told(report.split.unplaced, reader),
    }


def _show_problems(problems: Problems, reader: Reader) -> None:
    for problem in problems.shown:
        typer.echo(f"  {reader.say(problem_sentence(problem))}", err=True)
    more = problems.count - len(problems.shown)
    if more:
        told = reader.say(Sentence("%(n)s more problems", {"n": more}))
        typer.echo(f"  {told}", err=True)


def _part_told(part: SchoolPart, reader: Reader) -> dict[str, object]:
    return {
        "key": part.key,
        "school": part.number,
        "name": part.name,
        "box": part.box or None,
        "pupils": part.pupils,
        "staff": part.staff,
        "classes": part.classes,
        "sealed": part.sealed is not None,
        "refusal": None if part.refusal is None else reader.say(part.refusal),
        "problems": _problems_told(part.problems, reader),
    }


def _problems_told(problems: Problems, reader: Reader) -> dict[str, object]:
    return {
        "count": problems.count,
        "shown": [
            {
                "file": each.file,
                "line": each.line,
                "fault": each.fault,
                "text": reader.say(problem_sentence(each)),
            }
            for each in problems.shown
        ],
    }


def _reader() -> Reader:
    return Reader(terminal_language(os.environ))


def _say(sentence: Sentence, reader: Reader) -> None:
    typer.echo(reader.say(sentence))
