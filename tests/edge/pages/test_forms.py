"""Posted forms that cannot be read are the sender's fault, and fill no log."""

import pytest

from tests.edge.pages.conftest import Client

PART = b"--x\r\nContent-Disposition: form-data"
END = b"\r\n\r\n1\r\n--x--"
MULTIPART = "multipart/form-data; boundary=x"


@pytest.mark.parametrize("path", ["/setup/session", "/farm/rule"])
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
