"""Settings: what may be said where, which of it wins, and how a mistake is answered."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causerie import settings as settings_module
from causerie.errors import SettingsError
from causerie.setting import Kind, Setting, table_of
from causerie.settings import SETTINGS, ModelRoute, Settings, UpstreamSettings, load
from causerie.upstreams import chat_request
from scripts.reference import PAGES, settings_page

URL = "http://127.0.0.1:8000/v1"
SAMPLES: dict[str, tuple[str, Any, str]] = {
    "host": ("::1", "::1", '"::1"'),
    "port": ("9000", 9000, "9000"),
    "data": ("elsewhere", "elsewhere", '"elsewhere"'),
    "upstream": (URL, URL, f'"{URL}"'),
    "upstream_api_key": ("secret", "secret", '"secret"'),
    "upstream_read_seconds": ("2.5", 2.5, "2.5"),
    "dialect": ("vllm", "vllm", '"vllm"'),
    "model": ("small", "small", '"small"'),
    "rehearsal_script": ("play.toml", "play.toml", '"play.toml"'),
    "max_body_bytes": ("1024", 1024, "1024"),
    "max_model_calls": ("3", 3, "3"),
    "max_handoffs": ("2", 2, "2"),
    "run_seconds": ("60", 60.0, "60"),
    "max_tool_output_bytes": ("2048", 2048, "2048"),
    "tool_seconds": ("1.5", 1.5, "1.5"),
    "keep_run_seconds": ("30", 30.0, "30"),
    "on_disconnect": ("cancel", "cancel", '"cancel"'),
    "keep_alive_seconds": ("5", 5.0, "5"),
    "log_level": ("debug", "debug", '"debug"'),
}
"""For each setting that has a value: how it is given as text, what it comes to, and how TOML writes it."""
NEEDS_UPSTREAM = {"upstream_read_seconds", "dialect"}
SCALARS = [setting for setting in SETTINGS if setting.variable and setting.name != "database_url"]


@pytest.fixture(autouse=True)
def clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty current directory and no variables of ours."""
    for name in [name for name in os.environ if name.startswith("CAUSERIE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def toml() -> Callable[[str], None]:
    """Write ``causerie.toml`` in the current directory."""

    def write(text: str) -> None:
        Path("causerie.toml").write_text(text, encoding="utf-8")

    return write


def needed(setting: Setting) -> str:
    return f'upstream = "{URL}"\n' if setting.name in NEEDS_UPSTREAM else ""


def named(settings: list[Setting]) -> Any:
    return pytest.mark.parametrize("setting", settings, ids=lambda setting: setting.name)


def test_there_is_a_sample_of_every_setting() -> None:
    assert [setting.name for setting in SCALARS] == list(SAMPLES)


def test_without_anything_given_the_rehearsal_answers_on_loopback() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.data) == ("127.0.0.1", 8080, "causerie-data")
    assert settings.rehearses
    assert settings.default_model == "rehearsal"
    assert settings.database == "causerie-data/causerie.db"


@named(SCALARS)
def test_a_setting_is_read_from_the_file(setting: Setting, toml: Callable[[str], None]) -> None:
    _, value, written = SAMPLES[setting.name]
    toml(f"{needed(setting) if setting.name != 'upstream' else ''}{setting.name} = {written}")
    assert getattr(load(), setting.name) == value


@named(SCALARS)
def test_a_variable_outweighs_the_file(
    setting: Setting, toml: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, value, _ = SAMPLES[setting.name]
    other = {"host": "localhost", "upstream": "http://127.0.0.1:1/v1", "dialect": "mistral", "log_level": "error"}
    other["on_disconnect"] = "continue"
    in_file = msgspec.json.encode(other.get(setting.name, 7 if isinstance(value, int | float) else "7")).decode()
    toml(f"{needed(setting)}{setting.name} = {in_file}")
    assert getattr(load(), setting.name) != value
    monkeypatch.setenv(str(setting.variable), text)
    assert getattr(load(), setting.name) == value


@named([setting for setting in SCALARS if setting.flag])
def test_a_flag_outweighs_a_variable(
    setting: Setting, toml: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, value, _ = SAMPLES[setting.name]
    toml(needed(setting))
    monkeypatch.setenv(str(setting.variable), "wrong, but it is not looked at last")
    if setting.name in {"data", "model", "rehearsal_script", "upstream", "host"}:
        assert getattr(load({setting.name: text}), setting.name) == value
    else:
        with pytest.raises(SettingsError, match=str(setting.variable)):
            load({setting.name: text})
    monkeypatch.setenv(str(setting.variable), "")
    assert getattr(load({setting.name: text}), setting.name) == value


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUSERIE_PORT", "")
    assert load().port == 8080


def test_a_flag_that_was_not_given_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUSERIE_PORT", "9000")
    assert load({"port": None}).port == 9000


def test_the_file_is_the_one_of_the_flag_then_of_the_variable_then_of_the_place(
    toml: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    toml("port = 1")
    Path("two.toml").write_text("port = 2", encoding="utf-8")
    Path("three.toml").write_text("port = 3", encoding="utf-8")
    assert load().port == 1
    monkeypatch.setenv("CAUSERIE_CONFIG", "two.toml")
    assert load().port == 2
    assert load(config="three.toml").port == 3


def test_paths_in_a_file_are_relative_to_it(clean_place: Path) -> None:
    (clean_place / "etc").mkdir()
    (clean_place / "etc/causerie.toml").write_text('data = "d"\nrehearsal_script = "/abs/play.toml"', encoding="utf-8")
    settings = load(config="etc/causerie.toml")
    assert Path(settings.data) == Path("etc/d")
    assert settings.rehearsal_script == "/abs/play.toml"
    assert load({"data": "d"}, config="etc/causerie.toml").data == "d"


def test_memory_is_not_a_path(toml: Callable[[str], None]) -> None:
    toml('data = ":memory:"')
    assert load().data == ":memory:"
    assert load().database == ":memory:"


MISTAKES = [
    ("prot = 9000", ["prot in causerie.toml", "Did you mean port?"]),
    ("max-body-bytes = 1", ["max-body-bytes in causerie.toml", "Did you mean max_body_bytes?"]),
    ("zzz = 1", ["zzz in causerie.toml", "There is: ", "host, ", "port, "]),
    ("port = 'x'", ["port in causerie.toml", "a whole number from 0 to 65535", "'x'"]),
    ("port = '9000'", ["port in causerie.toml", "a whole number", "'9000'"]),
    ("port = true", ["port in causerie.toml", "a whole number", "True"]),
    ("port = 65536", ["port in causerie.toml", "65536"]),
    ("max_model_calls = 0", ["max_model_calls in causerie.toml", "from 1 up"]),
    ("run_seconds = 0", ["run_seconds in causerie.toml", "above 0"]),
    ("keep_alive_seconds = 30", ["keep_alive_seconds in causerie.toml", "up to 25"]),
    ("dialect = 'klingon'", ["dialect in causerie.toml", "openai, mistral or vllm", "'klingon'"]),
    ("log_level = 3", ["log_level in causerie.toml", "debug, info, warning or error"]),
    ("model = ''", ["model in causerie.toml", "some text"]),
    ("upstream = '127.0.0.1:8000'", ["upstream", "http://127.0.0.1:8000/v1", "'127.0.0.1:8000'"]),
    ("dialect = 'vllm'", ["dialect", "`upstream`, which is not set"]),
    ("database_url = 'postgresql://127.0.0.1/x'", ["database_url", "PostgreSQL", "later"]),
    ("port = ", ["causerie.toml is not valid TOML", "Invalid value"]),
    ("upstreams = 3", ["upstreams in causerie.toml", "expected tables"]),
    ("[upstreams]\na = 'x'", ["upstreams.a in causerie.toml", "expected a table"]),
    ("[upstreams.a]\nuri = 'x'", ["upstreams.a.uri in causerie.toml", "Did you mean url?"]),
    ("[upstreams.a]\ndialect = 'vllm'", ["upstreams.a in causerie.toml", "url is missing"]),
    ("[upstreams.a]\nurl = 'nowhere'", ["upstreams.a in causerie.toml", "url: expected a base URL"]),
    ("[upstreams.a]\nurl = 'http://[::1'", ["upstreams.a in causerie.toml", "url: expected a base URL"]),
    ("upstream = 'http://127.0.0.1:99999/v1'", ["upstream: expected a base URL"]),
    ("[upstreams.a]\nurl = 'http://x/v1'\nread_seconds = -1", ["upstreams.a.read_seconds in causerie.toml"]),
    ("[upstreams.a]\nurl = 'http://x'\napi_key = 'k'\napi_key_env = 'E'", ["upstreams.a", "api_key_env", "both"]),
    ("[upstreams.a]\nurl = 'http://x'\napi_key_env = 'NOT_SET'", ["upstreams.a", "api_key_env", "NOT_SET"]),
    ("[upstreams.a]\nurl = 'http://x/v1'", ["upstreams.a", "models"]),
    ("[upstreams.default]\nurl = 'http://x/v1'\n[models]\nm = 'default'", ["upstreams.default", "another"]),
    ("[upstreams.rehearsal]\nurl = 'http://x/v1'\n[models]\nm = 'rehearsal'", ["upstreams.rehearsal", "another"]),
    ("[models]\nm = 3", ["models.m in causerie.toml", "expected a table"]),
    ("[models]\nm = ''", ["models.m", "no upstream called ''"]),
    ("[models]\nm = {upsteam = 'x'}", ["models.m.upsteam in causerie.toml", "Did you mean upstream?"]),
    ("[models]\nm = {name = 'x'}", ["models.m in causerie.toml", "upstream is missing"]),
    ("[models]\nm = 'rehersal'", ["models.m", "'rehersal'", "Did you mean rehearsal?"]),
    ("[models]\nm = 'default'", ["models.m", "'default'"]),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_in_the_file_is_named(text: str, said: list[str], toml: Callable[[str], None]) -> None:
    toml(text)
    with pytest.raises(SettingsError) as refused:
        load()
    assert [part for part in said if part not in refused.value.message] == []
    assert "\n" not in refused.value.message


def test_a_file_that_cannot_be_read_is_named(clean_place: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml cannot be read"):
        load(config="nowhere.toml")
    (clean_place / "latin.toml").write_bytes(b'model = "caf\xe9"')
    with pytest.raises(SettingsError, match=r"latin\.toml is not valid TOML"):
        load(config="latin.toml")


@named([setting for setting in SCALARS if setting.kind.wants != "some text"])
def test_a_wrong_variable_or_flag_is_named(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=f"{setting.flag}: expected {setting.kind.wants}, got 'nonsense'"):
        load({setting.name: "nonsense"})
    monkeypatch.setenv(str(setting.variable), "nonsense")
    with pytest.raises(SettingsError, match=f"{setting.variable}: expected {setting.kind.wants}, got 'nonsense'"):
        load()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_hosts_are_taken(host: str) -> None:
    assert Settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.com", "localhost.example.com", ""])
def test_other_hosts_are_refused_because_there_are_no_keys_yet(host: str) -> None:
    with pytest.raises(SettingsError, match=r"^host: .* no API keys yet"):
        Settings(host=host)


def test_settings_made_in_python_are_checked_as_well() -> None:
    assert Settings(data=":memory:", upstream=URL + "/", model="small").upstream == URL
    with pytest.raises(SettingsError, match="port: expected a whole number"):
        Settings(port="9000")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="upstreams: expected tables"):
        Settings(upstreams={"a": "b"})  # type: ignore[dict-item]


def test_a_rehearsal_script_that_nobody_would_play_is_refused() -> None:
    with pytest.raises(SettingsError, match="rehearsal_script"):
        Settings(upstream=URL, rehearsal_script="play.toml")
    mapped = {"play": ModelRoute(upstream="rehearsal")}
    assert Settings(upstream=URL, rehearsal_script="play.toml", models=mapped).rehearsal_script == "play.toml"


def test_models_lead_to_servers(toml: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "from the environment")
    toml(f"""
        upstream = "{URL}"
        upstream_api_key = "mine"
        dialect = "vllm"
        [upstreams.other]
        url = "http://127.0.0.1:9000/v1/"
        api_key_env = "OTHER_KEY"
        read_seconds = 5
        [models]
        same = "other"
        renamed = "other/Qwen/Qwen3"
        table = {{ upstream = "default", name = "theirs" }}
        play = "rehearsal"
    """)
    settings = load()
    assert settings.servers == {
        "default": UpstreamSettings(url=URL, api_key="mine", dialect="vllm"),
        "other": UpstreamSettings(url="http://127.0.0.1:9000/v1", api_key="from the environment", read_seconds=5),
    }
    assert settings.models == {
        "same": ModelRoute(upstream="other"),
        "renamed": ModelRoute(upstream="other", name="Qwen/Qwen3"),
        "table": ModelRoute(upstream="default", name="theirs"),
        "play": ModelRoute(upstream="rehearsal"),
    }
    assert not settings.rehearses
    assert settings.default_model is None


def test_keys_are_never_shown() -> None:
    other = UpstreamSettings(url=URL, api_key="sesame-2")
    settings = Settings(
        upstream=URL, upstream_api_key="sesame-1", upstreams={"a": other}, models={"m": ModelRoute(upstream="a")}
    )
    assert "sesame" not in f"{settings!r} {settings} {settings.servers}"
    assert "upstream_api_key=..." in repr(settings)
    assert "upstream_api_key=None" in repr(Settings())


@pytest.mark.parametrize("text", ["upstream_api_key = 12345", "[upstreams.a]\nurl = 'http://x'\napi_key = 12345"])
def test_a_key_of_the_wrong_type_is_not_shown_either(text: str, toml: Callable[[str], None]) -> None:
    toml(text)
    with pytest.raises(SettingsError, match="api_key") as refused:
        load()
    assert "12345" not in refused.value.message


@pytest.mark.parametrize("url", ["http://me:sesame@127.0.0.1/v1", "http://sesame@127.0.0.1/v1"])
def test_a_password_in_a_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="password") as refused:
        Settings(upstream=url)
    assert "sesame" not in refused.value.message


@given(st.integers())
def test_any_port_is_taken_or_refused_by_its_name(port: int) -> None:
    if 0 <= port <= 65535:
        assert Settings(port=port).port == port
    else:
        with pytest.raises(SettingsError, match=r"^port: "):
            Settings(port=port)


@pytest.mark.parametrize("struct", [Settings, UpstreamSettings, ModelRoute])
def test_every_setting_says_what_it_is_for(struct: type[msgspec.Struct]) -> None:
    for setting in table_of(struct):
        assert re.fullmatch(r"[A-Z].*\.", setting.sentence), setting
        assert isinstance(setting.kind, Kind)


def test_flags_and_variables_follow_from_the_name() -> None:
    flags = {setting.name: setting.flag for setting in SETTINGS}
    assert flags["max_body_bytes"] == "--max-body-bytes"
    assert [name for name, flag in flags.items() if flag is None] == ["upstream_api_key", "upstreams", "models"]
    assert [setting.name for setting in SETTINGS if setting.variable is None] == ["upstreams", "models"]


def test_the_dialects_are_those_that_the_upstream_speaks() -> None:
    literal, _ = get_args(settings_module.Dialect)
    assert literal == chat_request.Dialect


def test_the_page_about_settings_is_fresh() -> None:
    assert (PAGES / "settings.md").read_text("utf-8") == settings_page(), "make docs writes it"
