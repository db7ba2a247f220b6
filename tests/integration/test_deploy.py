"""What stands in deploy/: read by the programs that it is for, and started where that can be done here."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from contextlib import suppress
from pathlib import Path

import pytest

from omserver_master.settings import load_settings
from omserver_master.wire.certificates import issue, make_authority
from omserver_web.settings import from_environment
from tests.brokers import Redis
from tests.ports import free_port
from tests.system import CHECKOUT, System, wait_for_end

DEPLOY = CHECKOUT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
#: Where a site has OMServer, in all of these files; here it is the checkout.
PLACE = "/opt/omserver"


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    return found or pytest.skip(f"{name} is not installed (see tests/install)")


def said(*argv: str | Path, code: int = 0) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=CHECKOUT)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def variables(file: Path) -> dict[str, str]:
    """What systemd reads from such a file."""
    lines = (line for line in file.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_a_unit_and_finds_its_command(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text().replace(PLACE, str(CHECKOUT))
    copy = tmp_path / unit.name.replace("@", "@1")
    copy.write_text(text)
    output = said(program("systemd-analyze"), "verify", "--recursive-errors=no", "--man=no", copy)
    assert unit.name.partition("@")[0].removesuffix(".service") not in output
    assert "EnvironmentFile=/etc/omserver/" in text


def test_systemd_analyze_would_notice_what_is_wrong_with_a_unit(tmp_path: Path) -> None:
    copy = tmp_path / "omserver-master.service"
    copy.write_text(UNITS[1].read_text().replace("KillMode=process", "KillMode=sometimes"))
    output = said(program("systemd-analyze"), "verify", "--recursive-errors=no", "--man=no", copy, code=1)
    assert "kill mode" in output
    assert "not executable" in output


def test_nothing_is_given_up_because_the_database_is_away_for_long() -> None:
    for unit in UNITS:
        lines = unit.read_text().partition("[Service]")
        assert "\nStartLimitIntervalSec=0\n" in lines[0], unit.name
        assert "\nRestart=always\n" in lines[2], unit.name
    parser = ConfigParser(interpolation=None)
    parser.read(DEPLOY / "supervisor" / "omserver.conf")
    programs = [parser[name] for name in parser.sections() if name.startswith("program:")]
    assert {(one["autorestart"], one.getint("startretries") >= 1000) for one in programs} == {("true", True)}


@pytest.mark.parametrize("file", [*UNITS, DEPLOY / "supervisor" / "omserver.conf"], ids=lambda it: it.name)
def test_every_command_is_one_that_there_is(file: Path) -> None:
    words = re.findall(rf"{PLACE}/\.venv/bin/(\S+) ([^\n\"]+)", file.read_text())
    assert words
    for name, rest in words:
        argv = [CHECKOUT / ".venv" / "bin" / name, *rest.split()]
        if name == "python":
            assert rest == "-m omserver_web"
            continue
        assert "Usage" in said(*argv, "--help")


def test_the_environment_files_hold_settings_that_there_are() -> None:
    settings = load_settings(variables(DEPLOY / "omserver.env"))
    assert settings.executor == "celery"
    assert settings.broker_url.startswith("rediss://")
    assert settings.database_url.startswith("mysql+pymysql://")
    console = from_environment(variables(DEPLOY / "web.env"))
    assert console["HTTPS"]


def nginx_says(folder: Path, main: str) -> str:
    (folder / "nginx.conf").write_text(
        f"load_module /usr/lib/nginx/modules/ngx_stream_module.so;\npid {folder}/pid;\n"
        f"error_log {folder}/error.log;\nevents {{}}\n{main}"
    )
    return said(program("nginx"), "-t", "-q", "-p", folder, "-c", folder / "nginx.conf")


def test_nginx_understands_its_files(tmp_path: Path) -> None:
    if not Path("/usr/lib/nginx/modules/ngx_stream_module.so").exists():
        pytest.skip("libnginx-mod-stream is not installed (see tests/install)")
    make_authority(tmp_path)
    cert, key = issue(tmp_path, "console", ["omserver.example.com"], server=True)
    console = (DEPLOY / "nginx" / "console.conf").read_text()
    console = console.replace("/etc/omserver/console.pem", str(cert))
    console = console.replace("/etc/omserver/console.key", str(key))
    (tmp_path / "console.conf").write_text(console)
    nginx_says(tmp_path, f"http {{ access_log off; include {tmp_path}/console.conf; }}\n")
    nginx_says(tmp_path, f"include {DEPLOY}/nginx/masters.conf;\n")


def test_mariadb_and_postgresql_understand_their_files(tmp_path: Path) -> None:
    mariadbd = program("mariadbd")
    output = said(mariadbd, f"--defaults-file={DEPLOY}/mariadb/omserver.cnf", "--help", "--verbose")
    found = dict(re.findall(r"^(\S+) +(\S+)$", output, re.MULTILINE))
    assert found["innodb-flush-log-at-trx-commit"] == "1"
    assert found["max-connections"] == "300"
    assert found["innodb-buffer-pool-size"] == str(2**30)
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    postgres = versions[-1] if versions else pytest.skip("PostgreSQL is not installed (see tests/install)")
    identity = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="ompg", dir="/tmp"))
    try:
        (folder / "postgresql.conf").write_text((DEPLOY / "postgresql" / "omserver.conf").read_text())
        (folder / "PG_VERSION").write_text(postgres.parts[-3])
        folder.chmod(0o700)
        if identity:
            shutil.chown(folder, "postgres")
            shutil.chown(folder / "postgresql.conf", "postgres")
        asked = [*identity, str(postgres), "-D", str(folder), "-C", "idle_in_transaction_session_timeout"]
        assert "60000" in said(*asked).splitlines()  # milliseconds
    finally:
        shutil.rmtree(folder)


def test_redis_understands_its_file(tmp_path: Path) -> None:
    redis = Redis()
    (tmp_path / "redis.conf").write_text((DEPLOY / "redis" / "omserver.conf").read_text())
    argv = [redis.program, str(tmp_path / "redis.conf"), "--port", str(redis.port), "--dir", str(tmp_path)]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        redis.password = "PASSWORD"
        until(lambda: redis.say("CONFIG", "GET", "save") == "*2", process)
    finally:
        process.kill()
        process.wait(10)
        redis.close()


def until(so: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while True:
        with suppress(OSError):
            if so():
                return
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.1)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[tuple[System, subprocess.Popen[bytes], int]]:
    """Master, Celery worker and console as supervisor keeps them, and the console's port."""
    redis = Redis().start()
    system = System(tmp_path / "home", executor="celery", broker_url=redis.url, workers=1)
    system.add_hosts(["here"], system.add_connection("here", "local"))
    web_port = free_port()
    told = {name: value for name, value in system.environment.items() if name.startswith("OMSERVER_")}
    for file in ("omserver.env", "web.env"):
        lines = [f"{name}={value}\n" for name, value in (told | {"OMSERVER_WEB_PORT": str(web_port)}).items()]
        (tmp_path / file).write_text("".join(lines))
    programs = (DEPLOY / "supervisor" / "omserver.conf").read_text().replace(PLACE, str(CHECKOUT))
    programs = programs.replace("/etc/omserver", str(tmp_path)).replace("/var/log/omserver", str(tmp_path))
    programs = re.sub(r"^user=.*$", f"user={getpass.getuser()}", programs, flags=re.MULTILINE)
    (tmp_path / "supervisord.conf").write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={tmp_path}/log\npidfile={tmp_path}/pid\n{programs}"
    )
    with (tmp_path / "out").open("wb") as out:
        argv = [program("supervisord"), "-c", str(tmp_path / "supervisord.conf")]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    yield system, process, web_port
    process.send_signal(signal.SIGTERM)
    process.wait(40)
    system.close()
    redis.close()


def test_supervisor_keeps_a_master_a_celery_worker_and_a_console(
    supervised: tuple[System, subprocess.Popen[bytes], int], tmp_path: Path
) -> None:
    system, supervisord, web_port = supervised
    until(lambda: (tmp_path / "log").read_text().count("entered RUNNING state") == 3, supervisord)
    until(lambda: health(web_port) == {"web": "up", "master": "up"}, supervisord)
    with system.client() as client:
        job = client.submit("1003", {}, ["here"])["job"]["id"]
        assert wait_for_end(client, job, 20)["state"] == "succeeded"


def health(port: int) -> dict[str, str]:
    """What the console says of itself and of its master.

    Raises:
        OSError: nothing good yet.
    """
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
        return dict(json.load(answer))
