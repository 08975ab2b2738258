import json
from pathlib import Path

from edge.demo.person import known_model, known_password
from edge.demo.plan import DemoConfig, RealParts, make_plan

TERMINAL = {"identity": "isapi:4447cc010203"}
MODULE = {"needs": "choice", "choices": ["io-moxa-e1214", "relay-waveshare-eth-8"]}
CAMERA = {"identity": "onvif:serial:1"}


def test_no_password_is_tried_at_a_real_device(tmp_path: Path) -> None:
    real = RealParts(school=1, interface="10.8.3.2/24")
    with_real, simulated, _ = make_plan(tmp_path, DemoConfig(real=real)).schools
    assert known_password(simulated, TERMINAL)
    assert known_password(simulated, CAMERA) is None
    assert known_password(with_real, TERMINAL) is None


def test_which_model_it_is_this_person_reads_on_a_simulated_module_alone(tmp_path: Path) -> None:
    real = RealParts(school=1, interface="10.8.3.2/24")
    with_real, simulated, unlabelled = make_plan(tmp_path, DemoConfig(real=real)).schools
    for school in (with_real, simulated):
        school.ledgers.mkdir(parents=True)
        label = {"kind": "label", "model": "io-moxa-e1214"}
        (school.ledgers / "module.jsonl").write_text(json.dumps(label) + "\n")
    assert known_model(simulated, MODULE) == "io-moxa-e1214"
    assert known_model(simulated, MODULE | {"needs": "nothing"}) is None
    assert known_model(simulated, MODULE | {"choices": ["input-moxa-e1210"]}) is None
    assert known_model(unlabelled, MODULE) is None
    assert known_model(with_real, MODULE) is None
