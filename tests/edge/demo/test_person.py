from pathlib import Path

from edge.demo.person import known_password
from edge.demo.plan import DemoConfig, RealParts, make_plan

TERMINAL = {"identity": "isapi:4447cc010203"}
CAMERA = {"identity": "onvif:serial:1"}


def test_no_password_is_tried_at_a_real_device(tmp_path: Path) -> None:
    real = RealParts(school=1, interface="10.8.3.2/24")
    with_real, simulated, _ = make_plan(tmp_path, DemoConfig(real=real)).schools
    assert known_password(simulated, TERMINAL)
    assert known_password(simulated, CAMERA) is None
    assert known_password(with_real, TERMINAL) is None
