"""What a school's people do in the demo with a button, a door and wristbands, by the pages."""

import asyncio
import re
from functools import partial

from edge.demo.browser import read_page, send_form, sign_in
from edge.demo.plan import SchoolPlan
from edge.errors import BoxSetupError

WHO = "值班老师"
SIREN = "楼顶警报"
ALARM_S_MAX = 90.0
LESSON_S = 8.0
BANDS = 8
_LOOK_EVERY_S = 0.5
_PLACE = re.compile(r'<option value="((?:input_[12]|output_1) [^"]+)">')
_CONTACTS = ("input_1", "input_2", "output_1")
_INCIDENT = re.compile(r'name="incident" value="([^"]+)"')
_PUPIL = re.compile(r'name="band_([0-9]+)"')
_GROUP = re.compile(r'type="hidden" name="group" value="([^"]+)"')
_SESSION = re.compile(r'name="session" value="([^"]+)"')


async def try_safety(school: SchoolPlan, setup_code: str) -> None:
    """Watch a button, a door and a siren; hold a drill until both were moved, and end it.

    BoxSetupError when no alarm is raised.
    """
    async with sign_in(school, setup_code) as pages:
        places = _PLACE.findall(await read_page(pages, "/safety"))
        # Others have inputs too: the contact board is who has the siren's output beside them.
        boards = [place.partition(" ")[2] for place in places if place.startswith("output_1 ")]
        ours = [f"{point} {board}" for board in boards[:1] for point in _CONTACTS]
        if not ours or not set(ours) <= set(places):
            return  # real hardware without a contact board
        button, door, siren = ours
        watch = partial(send_form, pages, "/safety/circuit")
        await watch(kind="siren", name=SIREN, place=siren, active="on", longest_s="20")
        # Somebody presses now and then: nobody shall before it is a drill.
        await send_form(pages, "/safety/drill", place="疏散演练", minutes="10", who=WHO)
        await watch(kind="panic", name="门卫室按钮", place=button, active="closed", siren="1")
        await watch(kind="door", name="后门", place=door, active="open")
        names, page = list[str](), ""
        async with asyncio.timeout(ALARM_S_MAX):
            # The drill, its alarms, and the siren's own step: it sounds before the drill ends.
            while len(names) < 3 or f"· {SIREN}</li>" not in page:  # noqa: PLR2004 - as above
                await asyncio.sleep(_LOOK_EVERY_S)
                page = await read_page(pages, "/safety")
                names = list(dict.fromkeys(_INCIDENT.findall(page)))
        drill = next(name for name in names if name.startswith("drill:"))
        await send_form(pages, "/safety/mark", incident=drill, who=WHO, step="assembled")
        for place in (button, door, siren):
            point, _, device = place.partition(" ")
            await send_form(pages, "/safety/remove", circuit=f"{device}/{point}")
        await send_form(pages, "/safety/close", incident=drill, who=WHO)


async def try_bands(school: SchoolPlan, setup_code: str) -> None:
    """Hold a short lesson with wristbands; BoxSetupError when the box takes none."""
    async with sign_in(school, setup_code) as pages:
        page = await read_page(pages, "/sports")
        group, pupils = _GROUP.search(page), _PUPIL.findall(page)[:BANDS]
        if group is None or not pupils:
            raise BoxSetupError("the sports page shows no class; import a roster")
        bands = {f"band_{pupil}": str(band) for band, pupil in enumerate(pupils, start=1)}
        await send_form(pages, "/sports/begin", group=group[1], teacher="郑老师", **bands)
        await asyncio.sleep(LESSON_S)
        for session in set(_SESSION.findall(await read_page(pages, "/sports"))):
            await send_form(pages, "/sports/end", session=session)
