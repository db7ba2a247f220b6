"""Settings: from config.py and the environment, checked at start, none of them undocumented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from omserver_client.keyfile import PUBLISHED_SECRETS
from omserver_master.backends import KINDS
from omserver_master.errors import SettingsError
from omserver_master.settings import PLATFORMS, PREFIX, Settings, load_settings, open_home, setting_names

ROOT = Path(__file__).resolve().parents[2]


def _load(folder: Path, config: str = "", **env: str) -> Settings:
    (folder / "config.py").write_text(config)
    named = {PREFIX + name: value for name, value in env.items()}
    return load_settings(
        {PREFIX + "HOME": str(folder / "home"), PREFIX + "CONFIG": str(folder / "config.py"), **named}
    )


def test_without_anything_set_the_defaults_of_the_documentation_hold() -> None:
    settings = load_settings({})
    assert settings.home == Path("~/.omserver").expanduser()
    assert (settings.rpyc_host, settings.rpyc_port) == ("127.0.0.1", 11511)
    assert (settings.web_host, settings.web_port) == ("127.0.0.1", 8511)
    assert settings.database_url == f"sqlite:///{settings.home}/omserver.db"
    assert settings.modules_dir == ROOT / "modules"
    assert settings.config == ROOT / "config.py"
    assert settings.key_for("web") == settings.home / "keys" / "web.key"


def test_the_environment_goes_before_config_py_and_that_before_the_default(tmp_path: Path) -> None:
    settings = _load(tmp_path, "WORKERS = 3\nWEB_PORT = 9000\n_private = 1\nlower = 2", WEB_PORT="9001")
    assert (settings.workers, settings.web_port, settings.rpyc_port) == (3, 9001, 11511)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RPYC_PORT", "0"), ("RPYC_PORT", "65536"), ("RPYC_PORT", "http"), ("RPYC_PORT", ""),
        ("WEB_PORT", "80.5"), ("WORKERS", "0"), ("WORKERS", "-1"), ("WORKERS", "999"),
        ("RUNCOMMANDS_WAIT", "1e9"), ("MAX_FRAME", "10"), ("MAX_FRAME", "999999999999"), ("RPYC_HOST", ""),
        ("RPYC_HOST", "a b"), ("WEB_HOST", "http://x/"), ("AUTO_PLATFORM", "puppet"), ("AUTO_PLATFORM", ""),
        ("AUTO_PLATFORM", "salt"),
        ("HOME", " "), ("MODULES_DIR", ""), ("KEY_FILE", ""), ("CONFIRM_ABOVE", "0"),
        ("EXECUTOR", "threads"), ("EXECUTOR", "Celery"),
        ("KEEP_OUTPUT_DAYS", "0"), ("KEEP_JOBS_DAYS", "-1"), ("KEEP_AUDIT_DAYS", "for ever"),
        ("KEEP_OUTPUT_BYTES", "10G"), ("KEEP_OUTPUT_BYTES", "0"),
        ("TLS_CERT", ""), ("ALLOW_RC4_CLIENTS", "maybe"), ("RC4_CLIENT_ADDRESSES", "10.0.0.0/8"),
        ("RC4_CLIENT_ADDRESSES", "10.0.0.1, host"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_it_must_be(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as error:
        _load(tmp_path, **{name: value})
    assert "must be" in str(error.value)
    assert repr(value) in str(error.value)


def test_every_platform_is_a_kind_that_there_is(tmp_path: Path) -> None:
    assert set(PLATFORMS.values()) == set(KINDS)
    for platform in PLATFORMS:
        assert _load(tmp_path, AUTO_PLATFORM=platform).auto_platform == platform


@pytest.mark.parametrize("value", ["True", "None", "'8'+'x'", "[8511]", "8511.0"])
def test_a_value_of_the_wrong_type_in_config_py_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match="WEB_PORT must be a whole number"):
        _load(tmp_path, f"WEB_PORT = {value}")


@pytest.mark.parametrize(
    "url", ["oracle://u:S3cretPass@h/d", "S3cretPass", "mysql:S3cretPass", "mysql://", "://x"]
)
def test_a_wrong_database_url_is_refused_without_showing_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL must be") as error:
        _load(tmp_path, DATABASE_URL=url)
    assert "S3cretPass" not in str(error.value)


def test_the_settings_never_show_the_databases_password(tmp_path: Path) -> None:
    settings = _load(tmp_path, DATABASE_URL="mariadb://u:S3cretPass@h/d")
    assert settings.database_url == "mysql+pymysql://u:S3cretPass@h/d"
    assert "S3cretPass" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "http://:S3cretPass@h/",
        "S3cretPass",
        "redis:S3cretPass",
        "redis://",
        "redis://:S3cretPass@h:port/0",
        "rediss://:S3cretPass@h/0?ssl_cert_reqs=none",
    ],
)
def test_a_wrong_broker_url_is_refused_without_showing_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="BROKER_URL must be") as error:
        _load(tmp_path, BROKER_URL=url)
    assert "S3cretPass" not in str(error.value)


def test_celery_needs_a_broker_and_its_password_is_never_shown(tmp_path: Path) -> None:
    assert _load(tmp_path).executor == "processes"
    with pytest.raises(SettingsError, match="needs BROKER_URL"):
        _load(tmp_path, EXECUTOR="celery")
    settings = _load(tmp_path, EXECUTOR="celery", BROKER_URL="rediss://:S3cretPass@h:6380/1")
    assert settings.broker_url == "rediss://:S3cretPass@h:6380/1"
    assert "S3cretPass" not in repr(settings)


def test_an_unknown_name_in_config_py_is_refused_with_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"WEBPORT, which is not a setting\. Did you mean WEB_PORT"):
        _load(tmp_path, "WEBPORT = 1")


@pytest.mark.parametrize("config", ["1 +", "raise RuntimeError('odd')", "import no_such_module"])
def test_a_config_py_that_cannot_be_read_is_one_clear_error(tmp_path: Path, config: str) -> None:
    with pytest.raises(SettingsError, match=r"config\.py cannot be read"):
        _load(tmp_path, config)


def test_a_config_py_that_is_named_but_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings({PREFIX + "CONFIG": str(tmp_path / "none.py")})


@pytest.mark.parametrize("secret", sorted(PUBLISHED_SECRETS))
def test_a_secret_published_in_2014_is_refused_wherever_it_stands(tmp_path: Path, secret: str) -> None:
    for config, env in (
        (f"SECRET_KEY = {secret!r}", {}),
        ("", {"SECRET_KEY": secret}),
        ("", {"DATABASE_URL": f"mysql://u:{secret}@h/d"}),
    ):
        with pytest.raises(SettingsError, match="published in 2014") as error:
            _load(tmp_path, config, **env)
        assert secret not in str(error.value)


def test_a_secret_key_of_ones_own_is_no_mistake(tmp_path: Path) -> None:
    _load(tmp_path, "SECRET_KEY = 'only we know this'")


def test_the_data_folder_is_private(tmp_path: Path) -> None:
    home = open_home(_load(tmp_path))
    assert {path.stat().st_mode & 0o777 for path in (home, *home.iterdir())} == {0o700}


def test_an_empty_data_folder_is_made_private_and_a_full_one_is_left_alone(tmp_path: Path) -> None:
    settings = _load(tmp_path)
    settings.home.mkdir(mode=0o755)
    open_home(settings)
    assert settings.home.stat().st_mode & 0o777 == 0o700
    settings.home.chmod(0o755)
    with pytest.raises(SettingsError, match="chmod 700"):
        open_home(settings)
    assert settings.home.stat().st_mode & 0o777 == 0o755


def test_a_data_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    settings = _load(tmp_path)
    settings.home.write_text("a file in the way")
    with pytest.raises(SettingsError, match="cannot be made"):
        open_home(settings)


def test_listening_for_other_machines_needs_tls(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TLS_CERT"):
        _load(tmp_path, RPYC_HOST="0.0.0.0")
    with pytest.raises(SettingsError, match="go together"):
        _load(tmp_path, TLS_CERT="/cert.pem")
    with pytest.raises(SettingsError, match="TLS_CLIENT_CA"):
        _load(tmp_path, TLS_CLIENT_CA="/ca.pem")
    assert (
        _load(tmp_path, RPYC_HOST="0.0.0.0", TLS_CERT="/cert.pem", TLS_KEY="/key.pem").tls_client_ca is None
    )


def test_the_bridge_is_off_and_needs_addresses_and_a_secret_of_ones_own(tmp_path: Path) -> None:
    secret = "only we two know this one"
    assert _load(tmp_path).allow_rc4_clients is False
    addresses = "RC4_CLIENT_ADDRESSES = ['10.0.0.1', '2001:DB8::1']"
    good = _load(tmp_path, f"ALLOW_RC4_CLIENTS = True\n{addresses}\nSECRET_KEY = {secret!r}")
    assert good.allow_rc4_clients
    assert good.rc4_client_addresses == ("10.0.0.1", "2001:db8::1")
    assert secret not in repr(good)
    on = {"ALLOW_RC4_CLIENTS": "1"}
    with pytest.raises(SettingsError, match="RC4_CLIENT_ADDRESSES"):
        _load(tmp_path, SECRET_KEY=secret, **on)
    for short in ("", "short", "a" * 40):
        with pytest.raises(SettingsError, match="SECRET_KEY of at least 16"):
            _load(tmp_path, RC4_CLIENT_ADDRESSES="10.0.0.1", SECRET_KEY=short, **on)
    for published in PUBLISHED_SECRETS:
        with pytest.raises(SettingsError, match="published in 2014"):
            _load(tmp_path, RC4_CLIENT_ADDRESSES="10.0.0.1", SECRET_KEY=published, **on)


def _documented(pattern: str) -> list[str]:
    table = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    return sorted(re.findall(rf"^\| `{pattern}` \|", table, re.MULTILINE))


def test_every_setting_stands_in_the_table_of_the_documentation() -> None:
    assert _documented("((?!OMSERVER_)[A-Z0-9_]+)") == sorted(setting_names())


def test_every_variable_of_console_and_client_stands_in_the_documentation() -> None:
    sources = [*ROOT.glob("omserver_client/**/*.py"), *ROOT.glob("omserver_web/*.py")]
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    used = set(re.findall(r"\bOMSERVER_([A-Z]+_?[A-Z]+)\b", text)) | set(
        re.findall(r'value\("([A-Z_]+)"', text)
    )
    assert used
    assert used <= {*setting_names(), *(_documented("OMSERVER_([A-Z_]+)"))}
