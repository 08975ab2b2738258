"""What the demo's person does on the roof: plots, a rule for a pump, an experiment, the grow log.

There is a greenhouse too, with a lamp that is switched by hand. All by the farm's page, as a
teacher would.
"""

import asyncio
import re
from functools import partial

import aiohttp

from edge.demo.browser import post_form, read_page, send_form, sign_in
from edge.demo.plan import NETWORK, SERIAL, SchoolPlan
from edge.errors import BoxSetupError

ROOF_S_MAX = 90.0
"""Of a box that falls over while it waters, the rule waters again a minute later."""
PUMP, LAMP = "relay_2", "relay_3"
LAMP_MINUTES = "5"
PLOTS = ("屋顶一区", "屋顶二区")
TERM = ("2026-09-01", "2027-01-20")
RULE = "演示 土壤干了就浇六秒"
DRY_BELOW = "101"
"""Any soil is drier than this: the demo cannot wait until a bed has dried."""
_LOOK_EVERY_S = 0.5
_SOIL = re.compile(r'<option value="([^"|]+)\|soil_moisture"')
_PUMP = re.compile(rf'<option value="(modbus:line-[^"|]+\|{PUMP})"')
_LAMP = re.compile(rf'name="output" value="(modbus:[0-9.]+:[^"|]+\|{LAMP})"')
_PLOT = re.compile(r'name="plot" value="([^"]+)"')
_PLOT_A = re.compile(r'name="plot_a" required>(.*?)</select>', re.DOTALL)
_CHOICE = re.compile(r'<option value="([^"]+)"[^>]*>([^<]+)</option>')
_DONE = {
    (output, word): re.compile(rf'继电器 {output[-1]}\W+{told}</th><td><span class="light good">')
    for output in (PUMP, LAMP)
    for word, told in (("on", "开"), ("off", "关"))
}
"""How the farm's page says that an output was switched and read back."""


async def try_roof(school: SchoolPlan, setup_code: str) -> None:
    """Have a rule water a plot and see it end on the page; begin an experiment with another plot.

    BoxSetupError when the pump does not run, or a page does not take what is entered.
    """
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
                await _begin_experiment(pages)
            await _see(pages, PUMP, "on")
            await _see(pages, PUMP, "off")
    except TimeoutError as error:
        raise BoxSetupError("the roof's rule watered nothing; look at the farm's page") from error
    except aiohttp.ClientError as error:
        raise BoxSetupError(f"the farm's page does not answer: {error}") from error


async def try_lamp(school: SchoolPlan, setup_code: str) -> None:
    """Switch a lamp on by hand and give it back to the rules, of which none wants it.

    BoxSetupError when the page offers no lamp, or it does not go on and off.
    """
    if NETWORK not in school.simulated:
        return
    try:
        async with asyncio.timeout(ROOF_S_MAX), sign_in(school, setup_code) as pages:
            pages.headers["Accept-Language"] = "zh-CN"
            lamp = _LAMP.search(await read_page(pages, "/rooftop"))
            if lamp is None:
                raise BoxSetupError("the farm's page offers no lamp of the greenhouse")
            override = partial(send_form, pages, "/rooftop/override", output=lamp[1])
            await override(word="on", minutes=LAMP_MINUTES)
            await _see(pages, LAMP, "on")
            await override(word="back")
            await _see(pages, LAMP, "off")
    except TimeoutError as error:
        raise BoxSetupError("the lamp did not go on and off; look at the farm's page") from error
    except aiohttp.ClientError as error:
        raise BoxSetupError(f"the farm's page does not answer: {error}") from error


async def _see(pages: aiohttp.ClientSession, output: str, word: str) -> None:
    """Return once the farm's page says that an output was switched so, and read back."""
    while not _DONE[output, word].search(await read_page(pages, "/rooftop")):  # noqa: ASYNC110 - another process's page
        await asyncio.sleep(_LOOK_EVERY_S)


async def _enter(pages: aiohttp.ClientSession, soil: str, pump: str) -> None:
    await send_form(pages, "/rooftop/plot", name=PLOTS[0], crop="生菜", devices=soil)
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


async def _begin_experiment(pages: aiohttp.ClientSession) -> None:
    """Compare the plot that is watered with one that is not, and enter how high both stand."""
    await send_form(pages, "/rooftop/plot", name=PLOTS[1], crop="生菜")
    choices = _PLOT_A.search(await read_page(pages, "/rooftop/experiments"))
    plots = {name: plot for plot, name in _CHOICE.findall(choices[1] if choices else "")}
    if not plots.keys() >= set(PLOTS):
        raise BoxSetupError("the plots that were entered are not offered for an experiment")
    watered, dry = (plots[name] for name in PLOTS)
    await send_form(
        pages,
        "/rooftop/experiments",
        title="浇水与不浇水",
        factor="浇水",
        hypothesis="浇水的一区长得更高",
        plot_a=watered,
        plot_b=dry,
        points="soil_moisture",
        begins=TERM[0],
        ends=TERM[1],
    )
    for plot, height_cm in ((watered, "6.5"), (dry, "5.8")):
        entry = {"plot": plot, "text": "量了高度", "height_cm": height_cm}
        form = aiohttp.FormData(entry, default_to_multipart=True)  # there may be a photo
        await post_form(pages, "/rooftop/log", form)
