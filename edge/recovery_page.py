"""The recovery code as one sheet to print, in two languages, and as a QR code in a terminal."""

import io

import segno
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from edge.pages.rendering import TEMPLATES
from sync.persons.recovery import RecoveryCode


def recovery_sheet(code: RecoveryCode, school_name: str, school: int, fingerprint: str) -> str:
    """Return the sheet as HTML with nothing loaded from elsewhere."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    groups = code.printed().split("-")
    half = len(groups) // 2
    return environment.get_template("recovery_sheet.html").render(
        school_name=school_name,
        school=school,
        lines=("-".join(groups[:half]), "-".join(groups[half:])),
        drawing=Markup(_qr(code).svg_inline(scale=5, border=4)),  # noqa: S704 - segno's drawing
        fingerprint=fingerprint,
    )


def terminal_qr(code: RecoveryCode) -> str:
    """Return the QR code as lines of half blocks."""
    lines = io.StringIO()
    _qr(code).terminal(out=lines, border=2, compact=True)
    return lines.getvalue()


def _qr(code: RecoveryCode) -> segno.QRCode:
    return segno.make_qr(code.text(), mode="alphanumeric", error="m", boost_error=False)
