"""What the demo's person does on the roof: a plot, a rule for its pump, and a look at what it does.

All by the farm's page, as a teacher would.
"""

import asyncio
import re

import aiohttp

from edge.demo.browser import read_page, send_form, sign_in
from edge.demo.plan import SERIAL, SchoolPlan
from edge.errors import BoxSetupError

ROOF_S_MAX = 60.0
PUMP = "relay_2"
RULE = "演示 土壤干了就浇六秒"
DRY_BELOW = "101"
"""Any soil is drier than this: the demo cannot wait until a bed has dried."""
_LOOK_EVERY_S = 0.5
_SOIL = re.compile(r'<option value="([^"|]+)\|soil_moisture"')
_PUMP = re.compile(rf'<option value="([^"|]+\|{PUMP})"')
_PLOT = re.compile(r'name="plot" value="([^"]+)"')
_WATERED = re.compile(r'继电器 2\W+开</th><td><span class="light good">')


async def try_roof(school: SchoolPlan, setup_code: str) -> None:
    """Have a rule water a plot and see it on the page; BoxSetupError when it does not."""
    if SERIAL not in school.simulated:
        return
    try:
        async with asyncio.timeout(ROOF_S_MAX), sign_in(school, setup_code) as pages:
            pages.headers["Accept-Language"] = "zh-CN"
            form = await read_page(pages, "/rooftop/rule")
            soil, pump = _SOIL.search(form), _PUMP.search(form)
            if soil is None or pump is None:
                raise BoxSetupError("the farm's page offers no soil probe or no pump")
            if RULE not in await read_page(pages, "/rooftop"):
                await _enter(pages, soil[1], pump[1])
            while _WATERED.search(await read_page(pages, "/rooftop")) is None:  # noqa: ASYNC110 - another process's page
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError as error:
        raise BoxSetupError("the roof's rule watered nothing; look at the farm's page") from error
    except aiohttp.ClientError as error:
        raise BoxSetupError(f"the farm's page does not answer: {error}") from error


async def _enter(pages: aiohttp.ClientSession, soil: str, pump: str) -> None:
    await send_form(pages, "/rooftop/plot", name="屋顶一区", crop="生菜", devices=soil)
    plot = _PLOT.search(await read_page(pages, "/rooftop"))
    if plot is None:
        raise BoxSetupError("the plot that was entered does not stand on the farm's page")
    await send_form(
        pages,
        "/rooftop/rule",
        act="enter",
        name=RULE,
        plot=plot[1],
        output=pump,
        when1_place=f"plot={plot[1]}|soil_moisture",
        when1_test="below",
        when1_value=DRY_BELOW,
        longest="0.1",
        pause="1",
        minutes="30",
    )
