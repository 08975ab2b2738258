from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.chromium import SOUND_UNTOUCHED, running_chromium
from tests.edge.school import Box, new_box


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A school's box whose store is there and closed."""
    made = new_box(tmp_path)
    with made.opened():
        pass
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """Chromium for all tests of a module, whose loop is the module's."""
    async with running_chromium(SOUND_UNTOUCHED) as running:
        yield running
