"""What a person does in the demo: invite, claim, import a roster, search, look, adopt."""

import asyncio
import json
import logging
import sys
from collections import Counter
from typing import Any

import msgspec
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from drivers.simulators.door_terminal import PASSWORD
from drivers.simulators.ledger import read_ledger
from edge.control_client import Confirm, ask_daemon
from edge.demo.browser import open_pages, send_form, sign_in
from edge.demo.card_screen import CardScreen
from edge.demo.plan import NETWORK, DemoPlan, SchoolPlan
from edge.errors import BoxSetupError, DaemonAwayError
from edge.pages.actions import Adopt, Command, Discover
from provisioning.identity import load_identity
from sync.keys.recipients import fingerprint

_log = logging.getLogger(__name__)

HUB = [sys.executable, "-m", "hub"]
EDGE = [sys.executable, "-m", "edge"]
DISCOVERY_S_MAX = 120.0
DAEMON_S_MAX = 30.0
_LOOK_EVERY_S = 0.25
_NAMES = {
    "camera": "教室摄像机",
    "blackboard": "教室投影",
    "panel": "多功能厅 一体机",
    "board": "科学教室 大屏",
    "module": "温室 网络继电器",
    "card_reader": "门口读卡器",
    "attendance_terminal": "门口考勤机",
    "soil": "屋顶农场 土壤",
    "air": "屋顶农场 空气",
    "light": "屋顶农场 光照",
    "co2": "屋顶农场 二氧化碳",
    "farm_actuator": "屋顶农场 继电器",
    "safety_input": "门卫室 报警模块",
    "sports_gateway": "操场 手环网关",
    "door_terminal": "校门口 人脸机",
    "stations": "体育馆 体测站",
}
"""What this person calls things."""
ADMS, ISAPI = "adms:", "isapi:"
HALL = "多功能厅"
SCIENCE_ROOM = "科学教室"
POSITION = "讲台"
ALARM = "演示 请按老师的指示行动"
ALARM_EN = "Demonstration: do as your teacher says"
_ON_THE_ROOF = {"farm_sensor", "farm_actuator"}


async def enrol(plan: DemoPlan, school: SchoolPlan) -> None:
    """Have the district print a join code, and claim the school's box with it."""
    if (school.folder / "data" / "identity" / "identity.json").exists():
        return
    invited = await _run(
        *HUB,
        "invite",
        f"--school={school.number}",
        f"--name={school.name}",
        f"--name-en={school.name_en}",
        f"--role={school.role}",
        f"--latitude={school.latitude}",
        f"--longitude={school.longitude}",
        f"--host={school.route}",
        f"--config={plan.hub_config}",
        "--json",
    )
    code = json.loads(invited)["code"]
    await _run_again(*EDGE, "claim", f"--config={school.config}", "--", code)


async def wait_for_daemon(school: SchoolPlan) -> None:
    """Return once the box's daemon answers."""
    await _ask(school, "GET", "/status")


async def import_roster(school: SchoolPlan) -> None:
    await _ask(school, "POST", "/roster", school.roster.read_bytes())


async def adopt_what_is_found(school: SchoolPlan, expected: int) -> Counter[str]:
    """Search, again if need be, until ``expected`` devices are adopted.

    Returns how many were discovered, by kind. A daemon that is killed meanwhile forgets what it
    found and what it was looking for, but not what was adopted.
    """
    kinds: dict[str, str] = {}
    # Panels answer no search: the person names the subnet that they are in.
    wish = Discover(scan=str(school.network) if NETWORK in school.simulated else "")
    async with asyncio.timeout(DISCOVERY_S_MAX):
        while await _adopted(school) < expected:
            await _ask(school, "POST", "/discover", msgspec.json.encode(wish))
            searching = True
            while searching:
                await asyncio.sleep(_LOOK_EVERY_S)
                found = await _ask(school, "GET", "/candidates")
                searching = found["progress"]["running"]
                wanted = [
                    candidate
                    for candidate in found["candidates"]
                    if candidate["needs"] == "nothing"
                    or known_password(school, candidate)
                    or known_model(school, candidate)
                ]
                for candidate in wanted:
                    kinds[candidate["identity"]] = candidate["kind"]
                    await _adopt(school, candidate)
                # The rest of a bus is searched while what was found is at work.
                if wanted and await _adopted(school) >= expected:
                    break
    return Counter(kinds.values())


async def _adopted(school: SchoolPlan) -> int:
    return len((await _ask(school, "GET", "/status"))["devices"])


async def try_relays(school: SchoolPlan) -> None:
    """Switch the first relay of each board on and off again; BoxSetupError when one does not obey.

    A board says that it is there some seconds after it was adopted.
    """
    devices = (await _ask(school, "GET", "/status"))["devices"]
    for board in [each["device"] for each in devices if each["kind"] == "farm_actuator"]:
        for word in ("on", "off"):
            await _command(school, board, "relay_1", word, "verified")


async def try_panel(school: SchoolPlan) -> None:
    """Switch the panels that speak in frames on and see it done; BoxSetupError when one is not."""
    devices = (await _ask(school, "GET", "/status"))["devices"]
    for panel in [each["device"] for each in devices if each["device"].startswith("panel:")]:
        await _command(school, panel, "power", "on", "verified")


async def try_terminals(school: SchoolPlan) -> None:
    """Have the roster's cards put on a terminal that takes them, and set the clock of each.

    BoxSetupError when one does not obey.
    """
    devices = (await _ask(school, "GET", "/status"))["devices"]
    for terminal in [each["device"] for each in devices]:
        if terminal.startswith(ADMS):
            await _command(school, terminal, "people", "here", "sent")
            await _command(school, terminal, "set_time", "", "acknowledged")
        elif terminal.startswith(ISAPI):
            await _command(school, terminal, "set_time", "", "verified")


async def try_camera(school: SchoolPlan) -> None:
    """Keep where the camera looks, turn it, turn it back; BoxSetupError when it does not."""
    devices = (await _ask(school, "GET", "/status"))["devices"]
    for camera in [each["device"] for each in devices if each["kind"] == "camera"]:
        await _command(school, camera, "keep_preset", POSITION, "verified")
        await _command(school, camera, "move", "left", "acknowledged")
        await _command(school, camera, "preset", POSITION, "acknowledged")


async def try_class_card(school: SchoolPlan, setup_code: str) -> None:
    """Pair a class card, cover it with an emergency, and lift that; all by the pages.

    BoxSetupError when the card is not paired, covered or uncovered.
    """
    async with sign_in(school, setup_code) as office, open_pages(school) as door:
        screen = CardScreen(door)
        code = await screen.show_code()
        await send_form(office, "/office/pair", code=code, room=school.room, name="教室门口")
        await screen.become_paired()
        async with screen.listening() as stream:
            await send_form(office, "/office/emergency", text_zh=ALARM, text_en=ALARM_EN)
            message = await stream.covered()
            await screen.paint(message)
            await send_form(office, "/office/lift", message=message)
            await stream.uncovered()


async def confirm_partners(plan: DemoPlan, at: SchoolPlan) -> None:
    """Confirm the partners' keys at one school, as two people would on the telephone.

    The flagship confirms its receivers, each receiver the flagship. What a box shows is compared
    with what the other school's own box says.
    """
    flagship, *receivers = plan.schools
    for school in receivers if at.number == flagship.number else [flagship]:
        own = load_identity(school.folder / "data" / "identity")
        own_key = fingerprint(own.sealing.public_key().public_bytes_raw())
        async with asyncio.timeout(DAEMON_S_MAX):
            while True:
                shown = await _ask(at, "GET", f"/partners/{school.number}")
                keys = [each["fingerprint"] for each in shown["partners"]]
                if own_key in keys:
                    break
                await asyncio.sleep(_LOOK_EVERY_S)
        wish = msgspec.json.encode(Confirm(fingerprint=own_key))
        await _ask(at, "POST", f"/partners/{school.number}/confirm", wish)


async def schedule_lesson(plan: DemoPlan, starts_in_s: float, minutes: float) -> dict[str, Any]:
    """Have the district schedule a delivery lesson; returns lesson, starts_ms and ends_ms."""
    parties = [f"{each.number}:{each.room}:{each.room}" for each in plan.schools]
    told = await _run(
        *HUB,
        "lesson",
        "--title=圆的周长",
        "--title-en=The circumference of a circle",
        "--subject=数学",
        "--teacher=李老师",
        f"--flagship={parties[0]}",
        *(f"--receiver={party}" for party in parties[1:]),
        f"--starts-in={starts_in_s}",
        f"--minutes={minutes}",
        f"--config={plan.hub_config}",
        "--json",
    )
    lesson: dict[str, Any] = json.loads(told)
    return lesson


async def post_notice(plan: DemoPlan) -> str:
    """Have the district show a notice on every class card; returns its id."""
    told = await _run(
        *HUB,
        "notice",
        "--title=周五下午全区运动会",
        "--title-en=District sports day on Friday afternoon",
        f"--config={plan.hub_config}",
        "--json",
    )
    notice: str = json.loads(told)["notice"]
    return notice


async def status(school: SchoolPlan) -> dict[str, Any]:
    return await ask_daemon(school.folder / "data", "GET", "/status")


async def _command(
    school: SchoolPlan, device: str, command: str, argument: str, expected: str
) -> None:
    """Tell a device something, again until it is there, and see that it got that far."""
    async for attempt in _patiently(BoxSetupError):
        with attempt:
            wish = Command(device=device, command=command, argument=argument or None)
            told = await _ask(school, "POST", "/command", msgspec.json.encode(wish))
            if told["outcome"] != expected:
                raise BoxSetupError(f"{device}: {command} {argument}: {told['detail']}")


async def _adopt(school: SchoolPlan, candidate: dict[str, Any]) -> None:
    family = candidate["kind"]
    if family == "farm_sensor":
        family = candidate["profile"].partition("-")[0]
    room = None if candidate["kind"] in _ON_THE_ROOF else school.room
    if candidate["identity"].startswith("panel:"):
        is_wired = candidate["address"].startswith("serial:")
        family, room = ("board", SCIENCE_ROOM) if is_wired else ("panel", HALL)
    elif candidate["identity"].startswith(ISAPI):
        family = "door_terminal"
    elif candidate["profile"] == "sports-lines-json":
        family, room = "stations", None
    elif candidate["address"].startswith("modbus:"):
        family, room = "module", None
    wish = Adopt(
        identity=candidate["identity"],
        name=_NAMES.get(family, candidate["name"][:80]),
        room=room,
        profile=known_model(school, candidate),
        password=known_password(school, candidate),
    )
    try:
        await ask_daemon(school.folder / "data", "POST", "/adopt", msgspec.json.encode(wish))
    except BoxSetupError as error:
        # A killed daemon has forgotten the candidate, and may have adopted it: the next look tells.
        _log.info("%s: %s is tried again: %s", school.name_en, candidate["identity"], error)


def known_password(school: SchoolPlan, candidate: dict[str, Any]) -> str | None:
    """Return what this person knows the password to be: a simulated terminal's, no real one's."""
    is_simulated = NETWORK in school.simulated and candidate["identity"].startswith(ISAPI)
    return PASSWORD if is_simulated else None


def known_model(school: SchoolPlan, candidate: dict[str, Any]) -> str | None:
    """Return what this person read on a device that does not say which model it is.

    Of a simulated module alone: nobody here has seen a real one.
    """
    if candidate["needs"] != "choice" or NETWORK not in school.simulated:
        return None
    noted = read_ledger(school.ledgers / "module.jsonl")
    labels = [str(line["model"]) for line in noted if line["kind"] == "label"]
    return labels[-1] if labels and labels[-1] in candidate["choices"] else None


async def _ask(
    school: SchoolPlan, method: str, path: str, body: bytes | None = None
) -> dict[str, Any]:
    """Ask a school's daemon, and wait for it as a person would while it starts again."""
    async for attempt in _patiently(DaemonAwayError):
        with attempt:
            return await ask_daemon(school.folder / "data", method, path, body)
    raise AssertionError("the last attempt returns or raises")


async def _run_again(*argv: str) -> bytes:
    """Run a command that may be repeated whatever went wrong, until it succeeds."""
    async for attempt in _patiently(BoxSetupError):
        with attempt:
            return await _run(*argv)
    raise AssertionError("the last attempt returns or raises")


def _patiently(error: type[BoxSetupError]) -> AsyncRetrying:
    return AsyncRetrying(
        wait=wait_fixed(_LOOK_EVERY_S),
        stop=stop_after_delay(DAEMON_S_MAX),
        retry=retry_if_exception_type(error),
        reraise=True,
    )


async def _run(*argv: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise BoxSetupError(errors.decode(errors="replace").strip())
    return output
