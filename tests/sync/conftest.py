import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sync.district import District


@pytest.fixture
def district(tmp_path: Path) -> Iterator[District]:
    small = District(tmp_path, random.Random(7))
    for origin in (0, 17, 18):
        small.add(origin)
    yield small
    for node in small.nodes.values():
        node.close()
