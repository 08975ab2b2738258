import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edge.command_line import app
from edge.errors import BoxSetupError
from edge.roster_upload import UPLOAD_BYTES_MAX
from provisioning.identity import load_identity
from sync.rosters.offer import offer_rows
from sync.rosters.people import Pupil
from sync.rosters.sealed import RosterSealer, sign_roster
from sync.segments.signing import sign, signer_id
from tests.edge.running_box import RunningBox, daemon_config, running_box
from tests.edge.school import Box, enrol
from tests.hub.running_hub import Clock, until
from tests.provisioning.district import District, make_district

HEAD = "name,card,class_group\n"
DAY_MS = 24 * 3600 * 1000
MADE_MS = 1_790_000_000_000


@asynccontextmanager
async def a_box(folder: Path) -> AsyncIterator[tuple[RunningBox, District]]:
    district = make_district(folder / "hub", port=9)
    enrol(district, folder / "box", 17)
    config = daemon_config(folder / "box", network="127.122.7.1/24")
    (folder / "box.toml").write_text('folder = "box"\n[network]\ninterface = "127.122.7.1/24"\n')
    async with running_box(config, Clock()) as box:
        yield box, district


async def offered(box: RunningBox, pupils: int | None) -> None:
    await until(lambda: box.box.offered_pupils() == pupils)


async def invoked(folder: Path, file: Path | None, *words: str) -> Result:
    named = [] if file is None else [str(file)]
    argv = ["roster", "import", *named, *words, f"--config={folder / 'box.toml'}"]
    return await asyncio.to_thread(CliRunner().invoke, app, argv)


async def told(folder: Path, file: Path | None, *words: str) -> str:
    result = await invoked(folder, file, *words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


async def refused(folder: Path, file: Path | None, *words: str) -> str:
    result = await invoked(folder, file, *words)
    assert isinstance(result.exception, BoxSetupError), (result.output, result.exception)
    return str(result.exception)


def names(box: RunningBox) -> set[str]:
    return {known.name for known in box.box._roster._people.values()}


def sealed(folder: Path, district: District, made_ms: int, *pupils: Pupil) -> Path:
    identity = load_identity(folder / "box" / "identity")
    address = (identity.district, identity.school, identity.box)
    recipient = identity.sealing.public_key()
    sealer = RosterSealer(recipient, address, made_ms, lambda count: b"\x07" * count)
    for pupil in pupils:
        sealer.add(pupil)
    hub = district.hub.signing
    content = sign_roster(
        sealer.finish(), signer_id(hub.public_key()), lambda *each: sign(hub, *each)
    )
    path = folder / f"school-17-{made_ms}.roster"
    path.write_bytes(content)
    return path


async def test_nothing_is_taken_before_a_person_says_so(tmp_path: Path) -> None:
    file = tmp_path / "pupils.csv"
    file.write_text(f"{HEAD}张伟,AA,三\n", encoding="gb18030")
    async with a_box(tmp_path) as (box, _):
        for words in ((), ("--dry-run",)):
            said = await told(tmp_path, file, *words)
            assert "read as GB18030" in said
            assert "1 pupils, 0 staff; 0 known.\n  1 added" in said
        assert "add --yes" in await told(tmp_path, file)
        answer = json.loads(await told(tmp_path, file, "--json"))
        assert (answer["done"], answer["difference"]["added"]) == (False, 1)
        assert names(box) == set()
        assert "1 added, 0 were known already." in await told(tmp_path, file, "--yes")
        answer = json.loads(await told(tmp_path, file, "--yes", "--json"))
        assert (answer["done"], answer["added"], answer["already_known"]) == (True, 0, 1)


async def test_what_would_change_is_shown_with_names_before_and_after(tmp_path: Path) -> None:
    file = tmp_path / "pupils.csv"
    async with a_box(tmp_path):
        file.write_text("code,name,class_group,card\n1,张伟,三,AA\n2,王芳,三,BB\n")
        await told(tmp_path, file, "--yes")
        file.write_text("code,name,class_group,phone\n1,张炜,四,139\n")
        said = await told(tmp_path, file)
    assert "1 with another name\n  1 in another class\n    张伟 → 张炜\n" in said
    assert "1 people here are not in it; they stay" in said
    assert "Columns not read: phone" in said


async def test_the_districts_sealed_file_is_taken_and_an_older_one_only_on_purpose(
    tmp_path: Path,
) -> None:
    async with a_box(tmp_path) as (box, district):
        new = sealed(tmp_path, district, MADE_MS, Pupil("张伟", "AA", "三", "C1"))
        old = sealed(tmp_path, district, MADE_MS - 9 * DAY_MS, Pupil("张炜", "BB", "三", "C1"))
        said = await told(tmp_path, new, "--yes")
        assert "The district sealed this roster to this box on 2026-09-2" in said
        assert "OLDER" not in said
        assert "0 added, 1 were known already." in await told(tmp_path, new, "--yes")

        said = await told(tmp_path, old, "--dry-run")
        assert "on 2026-09-1" in said
        assert "It is OLDER than the one taken last, of 2026-09-2" in said
        assert "sealed before the one that was taken last" in await refused(tmp_path, old, "--yes")
        assert names(box) == {"张伟"}
        await told(tmp_path, old, "--yes", "--older")
        assert names(box) == {"张炜"}


async def test_what_the_hub_proposes_over_the_line_is_taken_by_a_person(tmp_path: Path) -> None:
    async with a_box(tmp_path) as (box, district):
        assert "proposes no roster" in await refused(tmp_path, None)
        chance = random.Random(9)
        drawn = [f"{chance.getrandbits(80):020X}" for _ in range(900)]
        pupils = [Pupil(f"学生{each[10:]}", each[:10], "三") for each in drawn]
        content = sealed(tmp_path, district, MADE_MS, *pupils).read_bytes()
        first, *rest = offer_rows(17, content, 0)
        assert len(rest) >= 1
        planted = Box(tmp_path / "box", district)

        planted.plant("roster_offer", *rest)
        box.box.rosters.note_offer()
        assert "proposes no roster" in await refused(tmp_path, None)
        planted.plant("roster_offer", first)
        box.box.rosters.note_offer()
        await offered(box, 900)

        assert "900 pupils, 0 staff; 0 known" in await told(tmp_path, None)
        assert names(box) == set()
        await told(tmp_path, None, "--yes")
        assert len(names(box)) == 900
        await offered(box, None)
        assert "proposes no roster" in await refused(tmp_path, None)


async def test_an_offer_that_the_hub_did_not_sign_is_shown_and_never_taken(tmp_path: Path) -> None:
    async with a_box(tmp_path) as (box, district):
        content = sealed(tmp_path, district, MADE_MS, Pupil("张伟", "AA", "三")).read_bytes()
        end = 8 + int.from_bytes(content[4:8])
        unsigned = content[:end] + bytes(72) + content[end + 72 :]
        Box(tmp_path / "box", district).plant("roster_offer", *offer_rows(17, unsigned, 0))
        box.box.rosters.note_offer()
        await offered(box, 1)
        assert "has not signed this roster" in await refused(tmp_path, None, "--yes")


async def test_a_file_that_cannot_be_taken_is_refused_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "pupils.roster"
    async with a_box(tmp_path):
        assert "cannot be read" in await refused(tmp_path, file)
        with file.open("wb") as written:
            written.truncate(UPLOAD_BYTES_MAX + 1)
        assert "over 4 MiB" in await refused(tmp_path, file)
        file.write_bytes(b"SNR1" + bytes(40))
        assert "cut off" in await refused(tmp_path, file, "--yes")
        file.write_text(f"{HEAD},AA,三\n")
        assert "line 2: needs a name" in await refused(tmp_path, file, "--yes")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"PK\x03\x04"])
async def test_no_content_brings_the_daemon_down(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "pupils.csv"
    file.write_bytes(content)
    async with a_box(tmp_path):
        await refused(tmp_path, file)
        file.write_text(f"{HEAD}张伟,AA,三\n")
        assert "1 added" in await told(tmp_path, file)
