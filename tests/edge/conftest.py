from pathlib import Path

import pytest

from tests.edge.school import Box, new_box


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A school's box whose store is there and closed."""
    made = new_box(tmp_path)
    with made.opened():
        pass
    return made
