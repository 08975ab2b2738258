"""What a test does where a program of the system is missing."""

import os
from typing import NoReturn

import pytest


def give_up(reason: str) -> NoReturn:
    """Skip the test and show why; in continuous integration fail it, for there a skip hides."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
