"""Prometheus's own linter as the judge of what is exposed."""

import subprocess

from tests.system_needs import need


def check_with_promtool(exposition: bytes) -> None:
    """Fail at any remark; where promtool is missing, skip or fail as the system says."""
    promtool = need("promtool", "prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=exposition, capture_output=True, check=False
    )
    said = done.stderr.decode()
    assert (done.returncode, said) == (0, ""), said
