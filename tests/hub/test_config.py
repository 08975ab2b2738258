from pathlib import Path

import pytest

from hub.config import load_config
from hub.errors import HubSetupError

GOOD = """district = "jiangxia"
district_name = "江夏区"
folder = "data"
[boxes]
names = ["hub.example"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "hub.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_folder_is_relative_to_the_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, GOOD))
    assert config.folder == tmp_path / "data"
    assert (config.boxes.port, config.pages.addresses) == (7443, ("127.0.0.1",))


def test_a_cache_is_named_by_its_address_and_asks_at_a_socket_beside_the_file(
    tmp_path: Path,
) -> None:
    cache = '[lessons]\ncache_url = "https://hub.example:7444"\norigin = "run/cache.sock"\n'
    config = load_config(written(tmp_path, GOOD + cache))
    assert config.lessons.cache_url == "https://hub.example:7444"
    assert config.lessons.origin == tmp_path / "run" / "cache.sock"
    assert load_config(written(tmp_path, GOOD)).lessons.cache_url == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD + 'secret = "x"\n', "secret"),
        (GOOD.replace('["hub.example"]', "[]"), "boxes.names"),
        (GOOD.replace('"jiangxia"', '"江夏"'), "district"),
        (GOOD.replace('"jiangxia"', '"' + "x" * 33 + '"'), "district"),
        (GOOD + "port = 0\n", "boxes.port"),
        (GOOD + '[lessons]\ncache_url = "http://hub.example"\n', "lessons.cache_url"),
        (GOOD + '[lessons]\ncache_url = "https://hub.example/path"\n', "lessons.cache_url"),
        ("district = ", "hub.toml"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(HubSetupError, match=told) as refused:
        load_config(written(tmp_path, text))
    assert "correct that line" in str(refused.value)


def test_a_file_that_is_no_text_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HubSetupError, match=r"hub\.toml"):
        load_config(path)


def test_a_missing_file_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(HubSetupError, match="name another with --config"):
        load_config(tmp_path / "nowhere.toml")
