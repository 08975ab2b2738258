"""Forms that cannot be read, or not kept: a word to the sender, and no log filled."""

import re
import sqlite3
from contextlib import closing

import pytest

from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import SimulatedBox

PART = b"--x\r\nContent-Disposition: form-data"
END = b"\r\n\r\n1\r\n--x--"
MULTIPART = "multipart/form-data; boundary=x"


@pytest.mark.parametrize("path", ["/setup/session", "/rooftop/rule"])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded; charset=klingon", b"code=1"),
        ("application/x-www-form-urlencoded", b"code=\xff"),
        ("multipart/form-data", b"--x\r\n\r\n"),
        (MULTIPART, b"nothing of the kind"),
        (MULTIPART, PART + END),
        (MULTIPART, PART + b"; name=a\r\nContent-Encoding: deflate" + END),
        (MULTIPART, PART + b"; name=a\r\nContent-Transfer-Encoding: base64" + END),
        (MULTIPART, b"--x\r\n" + b"a: b\r\n" * 200 + END),
    ],
)
async def test_a_form_that_cannot_be_read_is_refused(
    client: Client, path: str, content_type: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.post(
        path, data=body, headers={"Content-Type": content_type}, allow_redirects=False
    )
    assert answer.status in {400, 403}
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("path", "fields", "table"),
    [
        ("/rooftop/plot", {"name": "East"}, "farm_plot"),
        ("/office/duty", {"group": "g3c1", "on": "2026-11-23", "person": "901"}, "duty"),
    ],
)
async def test_what_the_store_does_not_take_is_said_on_the_page(
    staff: Client, box: SimulatedBox, path: str, fields: dict[str, str], table: str
) -> None:
    with closing(sqlite3.connect(box.path)) as connection:
        connection.execute(
            f"CREATE TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT raise(ABORT, 'disk'); END"
        )
    answer = await staff.post(path, data=fields)
    assert answer.status == 503
    assert 'role="alert"' in await answer.text()


@pytest.mark.parametrize(
    ("form", "page"),
    [
        ("/office/health?group=g3c1", "/office?group=g3c1"),
        ("/boards/daily", "/boards"),
        ("/rooftop/log", "/rooftop/log"),
        ("/rooftop/log/points", "/rooftop/log"),
        ("/rooftop/experiments/conclude", "/rooftop/experiments"),
        ("/setup/adopt", "/"),
        ("/sports/list", "/sports"),
    ],
)
async def test_a_page_that_refuses_a_form_is_at_its_own_address(
    client: Client, form: str, page: str
) -> None:
    answer = await client.post(form, data={})
    assert answer.status == 403
    text = await answer.text()
    assert re.findall('data-address="([^"]*)"', text) == [page]
    (other,) = re.findall('<a href="([^"]*)" lang="', text)
    for address in (page, other):
        assert (await client.get(address)).status == 200
