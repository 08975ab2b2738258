"""The setup page: what anyone sees, what the setup code opens, and who is kept out."""

import re
from dataclasses import replace

import msgspec
import pytest
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer

from drivers.discovery.candidate import Need
from drivers.entities import CommandResult, DeviceId, Outcome
from drivers.errors import ProtocolError, RefusedError, SetupError, UnreachableError
from edge.pages.access import SESSION_COOKIE
from edge.pages.app import build_pages
from edge.pages.box_view import Light, Sign
from provisioning.code_sessions import ATTEMPT_WINDOW_S, ATTEMPTS_PER_ADDRESS
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import (
    SETUP_CODE,
    SimulatedBox,
    as_view,
    camera_candidate,
    standing,
)

PROJECTOR = "pjlink:00:11:22"
SCRIPT = "<script>alert(1)</script>"


async def read(client: Client, path: str = "/") -> str:
    answer = await client.get(path)
    return await answer.text()


async def test_anyone_sees_lights_with_their_evidence_and_its_age(client: Client) -> None:
    page = await read(client)
    assert '<span class="light bad">not working</span>' in page
    assert "no answer for" in page
    assert ">11 min</time>" in page
    assert "nothing heard from it yet" in page
    assert "31.4" in page


async def test_keys_that_wait_for_a_decision_are_something_to_do(
    client: Client, box: SimulatedBox
) -> None:
    assert "schoolnode keys recipients" not in await read(client)
    box.undecided = 2
    page = await read(client)
    assert "2 keys wait for your decision" in page
    assert "Nothing to do" not in page


async def test_a_roster_that_the_district_proposes_is_something_to_do(
    client: Client, box: SimulatedBox
) -> None:
    assert "schoolnode roster import" not in await read(client)
    box.offered = 61
    page = await read(client)
    assert "The district proposes a roster of 61 pupils" in page
    assert "schoolnode roster import" in page


async def test_a_device_nobody_heard_is_never_green(client: Client, box: SimulatedBox) -> None:
    box.lights = [light for light in box.lights if light.state is Light.UNKNOWN]
    page = await read(client)
    devices = page[page.index('id="devices"') : page.index('id="sync"')]
    assert "light unknown" in devices
    assert "light good" not in devices
    assert "Nothing to do" not in page


async def test_without_the_code_addresses_finds_and_log_stay_closed(client: Client) -> None:
    page = await read(client)
    for secret in ("127.0.2.31", "DS-2CD3T47", "connect timed out", "silent for 11 min"):
        assert secret not in page
    assert "Enter the setup code to see and adopt what was found." in page


async def test_a_cameras_addresses_are_shown_only_with_the_code(
    client: Client, box: SimulatedBox
) -> None:
    known = box.values[0]
    sought = {"point": "stream_main", "value": "rtsp://127.0.2.31/main", "unit": ""}
    box.values.append(msgspec.structs.replace(known, **sought))
    for path in ("/", "/api/values"):
        assert "rtsp://" not in await read(client, path)
        assert known.point in await read(client, "/api/values")
    await client.post("/setup/session", data={"code": SETUP_CODE}, allow_redirects=False)
    assert "rtsp://127.0.2.31/main" in await read(client)
    assert "rtsp://127.0.2.31/main" in await read(client, "/api/values")


async def test_the_setup_code_opens_finds_and_buttons(staff: Client) -> None:
    page = await read(staff)
    assert "DS-2CD3T47 (Hikvision)" in page
    assert "answered a Probe" in page
    assert "needs password" in page
    assert 'name="argument" value="on"' in page
    assert "silent for 11 min" in page


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(
    client: Client,
) -> None:
    answer = await client.post("/setup/session", data={"code": SETUP_CODE}, allow_redirects=False)
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    assert SESSION_COOKIE.startswith("__Host-")
    for attribute in ("HttpOnly", "SameSite=Strict", "Secure", "Path=/"):
        assert attribute in cookie


async def test_a_wrong_code_opens_nothing(client: Client) -> None:
    answer = await client.post("/setup/session", data={"code": "00000000"})
    assert answer.status == 403
    assert "Set-Cookie" not in answer.headers
    assert "That is not the setup code" in await answer.text()


async def test_guessing_is_slowed_even_for_the_right_code(client: Client) -> None:
    for _ in range(ATTEMPTS_PER_ADDRESS):
        answer = await client.post("/setup/session", data={"code": "11111111"})
        assert answer.status == 403
    answer = await client.post("/setup/session", data={"code": SETUP_CODE})
    assert answer.status == 429
    assert 0 < int(answer.headers["Retry-After"]) <= ATTEMPT_WINDOW_S + 1


@pytest.mark.parametrize(
    "path",
    ["/setup/discover", "/setup/adopt", "/setup/dismiss", "/setup/command"],
)
async def test_a_pupil_without_the_code_changes_nothing(
    client: Client, box: SimulatedBox, path: str
) -> None:
    fields = {"device": PROJECTOR, "command": "power", "argument": "off"}
    answer = await client.post(path, data=fields)
    assert answer.status == 403
    assert box.told == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_another_sites_page_cannot_use_an_open_session(
    staff: Client, box: SimulatedBox, headers: dict[str, str]
) -> None:
    fields = {"device": PROJECTOR, "command": "power", "argument": "off"}
    answer = await staff.post("/setup/command", data=fields, headers=headers)
    assert answer.status == 403
    assert box.told == []


async def test_a_change_that_does_not_say_where_it_comes_from_is_refused(
    box: SimulatedBox,
) -> None:
    async with TestClient(TestServer(build_pages(as_view(box)))) as silent:
        answer = await silent.post("/setup/session", data={"code": SETUP_CODE})
        assert answer.status == 403
        assert "Origin" in await answer.text()


@pytest.mark.parametrize(
    ("language", "heading", "names", "sentence"),
    [
        (
            "en",
            "Not wholly confirmed by a document",
            "soil pH, set its clock, how it is connected",
            "Confirmed by no document: compare before you rely",
        ),
        (
            "zh-CN",
            "尚未由文档完全证实",
            "土壤酸碱度、校准时钟、连接方式",
            "使用前请先比对。",
        ),
    ],
)
async def test_what_no_document_confirms_is_marked_before_adoption_and_at_the_value(
    staff: Client, box: SimulatedBox, language: str, heading: str, names: str, sentence: str
) -> None:
    async def told() -> str:
        answer = await staff.get("/", headers={"Accept-Language": language})
        return await answer.text()

    assert heading not in await told()
    box.found = [replace(box.found[0], unconfirmed=("soil_ph", "set_time", "link"))]
    page = await told()
    assert f"<dt>{heading}</dt><dd>{names}</dd>" in page
    assert sentence not in page
    box.lights[0] = replace(box.lights[0], unconfirmed=("soil_temperature",))
    page = await told()
    assert page.count(sentence) == 1
    assert page.index("17.2") < page.index(sentence)


async def test_adopting_tells_the_box_room_name_password_and_who(
    staff: Client, box: SimulatedBox
) -> None:
    identity = box.found[0].identity
    fields = {"identity": identity, "room": "r301", "name": "后墙", "password": "admin:s3cret"}
    answer = await staff.post("/setup/adopt", data=fields)
    assert answer.status == 200
    assert box.told == [
        ("adopt", identity, "r301", "后墙", "admin:s3cret", "setup code from 127.0.0.1")
    ]
    page = await answer.text()
    assert "Adopted. It now works for this school." in page
    assert "s3cret" not in page


async def test_putting_aside_and_searching_reach_the_box(staff: Client, box: SimulatedBox) -> None:
    await staff.post("/setup/dismiss", data={"identity": box.found[1].identity})
    answer = await staff.post("/setup/discover", data={})
    page = await answer.text()
    assert [words[0] for words in box.told] == ["dismiss", "discover"]
    assert "bus0 4800 baud" in page
    assert 'max="247" value="61"' in page


async def test_a_command_is_one_the_device_offers(staff: Client, box: SimulatedBox) -> None:
    for fields in (
        {"device": PROJECTOR, "command": "power", "argument": "explode"},
        {"device": PROJECTOR, "command": "power"},
        {"device": PROJECTOR, "command": "test_picture", "argument": "on"},
        {"device": PROJECTOR, "command": "format"},
        {"device": "pjlink:other", "command": "power", "argument": "on"},
    ):
        answer = await staff.post("/setup/command", data=fields)
        assert answer.status in {404, 409}
    assert box.told == []
    await staff.post("/setup/command", data={"device": PROJECTOR, "command": "test_picture"})
    assert [words[:3] for words in box.told] == [("command", PROJECTOR, "test_picture")]


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Outcome.SENT, "sent"),
        (Outcome.ACKNOWLEDGED, "acknowledged"),
        (Outcome.VERIFIED, "verified"),
        (Outcome.FAILED, "failed"),
    ],
)
async def test_each_outcome_of_a_command_has_its_own_word(
    client: Client, box: SimulatedBox, outcome: Outcome, word: str
) -> None:
    result = CommandResult(
        device=DeviceId(PROJECTOR), command="power", outcome=outcome, observed_ms=box.clock_ms
    )
    box.lights = [replace(box.lights[1], last_command=result)]
    page = await read(client)
    assert re.search(rf'<span class="light \w+">{word}</span> power', page)


@pytest.mark.parametrize(
    ("error", "status", "remedy"),
    [
        (UnreachableError("no answer on 4352"), 504, "Check its power and cable"),
        (RefusedError("ERRA"), 409, "Check the password"),
        (SetupError("port in use"), 409, "put right first"),
        (ProtocolError("junk"), 502, "its profile does not know"),
    ],
)
async def test_a_device_that_fails_leaves_fact_and_remedy(
    staff: Client, box: SimulatedBox, error: Exception, status: int, remedy: str
) -> None:
    assert isinstance(error, UnreachableError | RefusedError | SetupError | ProtocolError)
    box.refusal = error
    fields = {"device": PROJECTOR, "command": "power", "argument": "on"}
    answer = await staff.post("/setup/command", data=fields)
    page = await answer.text()
    assert answer.status == status
    assert remedy in page
    assert str(error) in page


async def test_a_device_named_like_a_script_stays_text(staff: Client, box: SimulatedBox) -> None:
    box.found = [camera_candidate(SCRIPT)]
    box.lights = [
        replace(
            light, name=SCRIPT, detail=SCRIPT, room=SCRIPT, address=SCRIPT, device=DeviceId(SCRIPT)
        )
        for light in box.lights
    ]
    box.values = [msgspec.structs.replace(box.values[0], point=SCRIPT, value=SCRIPT, unit=SCRIPT)]
    box.lines = [replace(line, text=SCRIPT, source=SCRIPT) for line in box.lines]
    box.sync = replace(box.sync, detail=SCRIPT)
    box.school_name = SCRIPT
    page = await read(staff)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


async def test_an_overlong_or_unprintable_form_is_refused_whole(
    staff: Client, box: SimulatedBox
) -> None:
    identity = box.found[0].identity
    for fields in (
        {"identity": identity, "name": "x" * 81},
        {"identity": identity, "name": "a\x00b"},
        {"identity": identity, "name": ""},
        {"identity": identity, "name": "a", "surprise": "1"},
        {"identity": "never found", "name": "a"},
    ):
        answer = await staff.post("/setup/adopt", data=fields)
        assert answer.status in {400, 404}
    assert box.told == []


async def test_a_new_box_says_the_next_step(client: Client, box: SimulatedBox) -> None:
    box.found, box.lights, box.values = [], [], []
    page = await read(client)
    assert "No device is adopted yet: search for devices." in page
    assert "Plug a device in or switch it on, then search." in page


async def test_leaving_set_up_closes_the_session(staff: Client) -> None:
    assert "Leave set-up" in await read(staff)
    await staff.post("/setup/session/close")
    assert "Leave set-up" not in await read(staff)


async def test_a_stolen_cookie_is_worthless_after_leaving(staff: Client, box: SimulatedBox) -> None:
    jar = staff.session.cookie_jar
    assert isinstance(jar, CookieJar)
    token = next(cookie.value for cookie in jar if cookie.key == SESSION_COOKIE)
    await staff.post("/setup/session/close")
    answer = await staff.post(
        "/setup/dismiss",
        data={"identity": box.found[0].identity},
        headers={"Cookie": f"{SESSION_COOKIE}={token}"},
    )
    assert answer.status == 403
    assert box.told == []


async def test_everyone_sees_how_the_data_stands_and_staff_alone_the_reasons(
    box: SimulatedBox, client: Client
) -> None:
    box.standing = standing(box)
    page = await (await client.get("/")).text()
    for told in ("How the data stands", "names and guardians 41", "On the way", "51,200"):
        assert told in page
    assert "table 99 is not known" not in page
    assert "00c0ffee00c0ffee" not in page

    await client.post("/setup/session", data={"code": SETUP_CODE})

    page = await (await client.get("/")).text()
    assert "table 99 is not known" in page
    assert "00c0ffee00c0ffee" in page


async def test_what_was_not_looked_at_or_counted_yet_is_said_to_be_so(
    box: SimulatedBox, client: Client
) -> None:
    box.sync = replace(
        box.sync, lanes=tuple(replace(lane, sealed_only=None) for lane in box.sync.lanes)
    )
    page = await (await client.get("/")).text()
    assert "Not looked yet." in page
    assert page.count("being counted") == len(box.sync.lanes)


async def test_what_the_hub_said_in_english_is_retold_in_the_readers_language(
    box: SimulatedBox, staff: Client
) -> None:
    said = "as many boxes are connected as this hub takes; try again later"
    box.sync = replace(box.sync, detail=f"the hub answered 503: {said}")
    chinese = await (await staff.get("/?lang=zh-CN")).text()
    assert "区域中心应答 503：已连接的盒子达到区域中心的上限；请稍后再试" in chinese  # noqa: RUF001 - Chinese
    assert said not in chinese
    assert said in await (await staff.get("/?lang=en")).text()


async def test_why_something_was_set_aside_is_told_in_the_readers_language(
    box: SimulatedBox, staff: Client
) -> None:
    told = standing(box)
    refused = replace(told.checkpoints[0], refused="number-too-high: number 9 is far above 4")
    box.standing = replace(told, checkpoints=(refused,))
    page = await (await staff.get("/?lang=zh-CN")).text()
    assert "本版本不认识该数据表" in page
    assert '<span class="evidence">(本版本不认识表 99；已保留，升级后归入)</span>' in page  # noqa: RUF001 - Chinese
    assert "由本校的另一台盒子写入" in page
    assert "(number 9 is far above 4)" in page


async def test_a_missing_recovery_code_is_among_what_needs_doing(
    box: SimulatedBox, client: Client
) -> None:
    told = standing(box)
    assert told.recovery is not None
    box.standing = told
    assert "There is no recovery code" not in await read(client)
    box.standing = replace(told, recovery=replace(told.recovery, has_code=False))
    page = await read(client)
    assert "There is no recovery code: a lost box would take all names with it." in page
    assert "Nothing to do" not in page


async def test_a_device_that_needs_a_look_comes_with_its_remedy(
    box: SimulatedBox, client: Client
) -> None:
    light = replace(box.lights[0], sign=Sign.LINK_LOST, state=Light.BAD, name="Gate reader")
    box.lights = [light]
    page = await read(client)
    told = re.sub(r"<[^>]*>", "", page)
    assert re.search(
        r"Gate reader: cable, port or address gone for .+ Check its power, plug and address.", told
    )


async def test_a_device_that_was_never_heard_is_not_gone_for_a_time_that_nobody_knows(
    box: SimulatedBox, client: Client
) -> None:
    light = replace(box.lights[0], sign=Sign.LINK_LOST, state=Light.BAD, evidence_ms=None)
    box.lights = [light]
    told = re.sub(r"<[^>]*>", "", await read(client))
    assert f"{light.name}: nothing heard from it yet. Check its power" in told
    assert "gone for" not in told


async def test_a_moment_is_told_as_past_and_a_span_as_lasting(
    box: SimulatedBox, client: Client
) -> None:
    heard_ms = box.clock_ms - 7_000
    light = replace(box.lights[0], sign=Sign.ANSWERED, state=Light.GOOD, evidence_ms=heard_ms)
    box.lights = [light]
    assert "last answer 7 s ago" in re.sub(r"<[^>]*>", "", await read(client))
    box.lights = [replace(light, sign=Sign.SILENT)]
    assert re.search(r"no answer for 7 s(?! ago)", re.sub(r"<[^>]*>", "", await read(client)))


async def test_only_who_has_the_code_puts_a_repair_aside(box: SimulatedBox, client: Client) -> None:
    box.lights = [replace(box.lights[0], state=Light.BAD, sign=Sign.LINK_LOST)]
    key = f"away:{box.lights[0].device}"
    assert key not in await read(client)
    refused = await client.post("/setup/shelve", data={"key": key, "days": "7"})
    assert refused.status == 403
    assert len(box.repairs.list().shelved) == 0


async def test_a_repair_is_put_aside_and_taken_up_again(box: SimulatedBox, staff: Client) -> None:
    box.lights = [replace(box.lights[0], state=Light.BAD, sign=Sign.LINK_LOST, name="Gate reader")]
    key = f"away:{box.lights[0].device}"
    assert key in await read(staff)
    answer = await staff.post("/setup/shelve", data={"key": key, "days": "7"})
    assert answer.status == 200
    page = await answer.text()
    assert "To do later" in page
    assert f'value="{key}"><button class="quiet push"' in page
    assert "Gate reader" not in page.split("To do later")[0]
    await staff.post("/setup/unshelve", data={"key": key})
    assert "To do later" not in await read(staff)


async def test_what_could_not_be_searched_is_told_to_who_may_mend_it(
    box: SimulatedBox, client: Client
) -> None:
    sentence = "/dev/ttyUSB0 is in use by another program; stop that program"
    box.progress = replace(box.progress, finished_ms=box.clock_ms, unsearched=(sentence,))
    assert "/dev/ttyUSB0" not in await read(client)
    assert "/dev/ttyUSB0" not in await (await client.get("/api/status")).text()
    await client.post("/setup/session", data={"code": SETUP_CODE})
    page = await read(client)
    assert "Not everything could be searched:" in page
    assert sentence in page
    told = await (await client.get("/api/status")).json()
    assert told["discovery"]["unsearched"] == [sentence]


async def test_a_subnet_is_searched_only_when_somebody_names_one(
    box: SimulatedBox, staff: Client
) -> None:
    await staff.post("/setup/discover", data={"scan": ""})
    await staff.post("/setup/discover", data={"scan": "10.1.2.0/28, 10.1.3.0/30"})
    assert [told for told in box.told if told[0] == "discover"] == [
        ("discover",),
        ("discover", "10.1.2.0/28", "10.1.3.0/30"),
    ]
    refused = await staff.post("/setup/discover", data={"scan": "10.1.2.7/28"})
    assert refused.status == 400
    assert "is no subnet" in await refused.text()
    await staff.post("/setup/discover/stop")
    assert ("stop discovery",) in box.told


async def test_a_person_says_which_of_several_models_it_is(
    box: SimulatedBox, staff: Client
) -> None:
    found = replace(
        box.found[0], needs=Need.CHOICE, profile=None, choices=("benq-ifp", "viewsonic-viewboard")
    )
    box.found = [found]
    page = await read(staff)
    assert '<option value="viewsonic-viewboard">' in page
    form = {"identity": found.identity, "name": "Panel", "profile": "viewsonic-viewboard"}
    await staff.post("/setup/adopt", data=form)
    assert box.told[-1][-1] == "viewsonic-viewboard"
