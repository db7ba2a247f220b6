"""The scripts of the stock modules, run by real shells on hosts made of a folder and a few fake commands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omserver_master.registry.loading import forget, load

MODULES = Path(__file__).resolve().parents[2] / "modules"
TOOLS = "cat tail head sed id cp mv rm cmp readlink sh printf sleep true"


@pytest.fixture(params=["sh", "busybox sh", "bash"])
def shell(request: pytest.FixtureRequest) -> list[str]:
    words = request.param.split()
    if not shutil.which(words[0]):
        pytest.skip(f"{words[0]} is not installed")
    return [shutil.which(words[0]) or "", *words[1:]]


class FakeHost:
    """A folder that plays the root of a host; its only commands are a few plain tools and `command`'s."""

    def __init__(self, root: Path, shell: list[str]) -> None:
        self.root = root
        self._shell = shell
        (root / "bin").mkdir()
        for tool in TOOLS.split():
            (root / "bin" / tool).symlink_to(shutil.which(tool) or "")
        self.command("sleep", "exit 0")

    def command(self, name: str, body: str) -> None:
        """Make a command that does *body*, and notes that it was called."""
        path = self.root / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >>"{self.root}/calls"\n{self._here(body)}\n')
        path.chmod(0o755)

    def file(self, name: str, content: str = "", mode: int = 0o644) -> Path:
        path = self.root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._here(content) if mode & 0o111 else content)
        path.chmod(mode)
        return path

    def run(self, script: str, **env: str) -> tuple[int, str, str]:
        """Run *script* with its paths moved below the root; the return code, stdout and stderr."""
        variables = {"PATH": str(self.root / "bin")} | {f"OM_{name.upper()}": env[name] for name in env}
        answer = subprocess.run(
            [*self._shell, "-c", self._here(re.sub(r"^PATH=.*$", "", script, flags=re.M))],
            env=variables,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return answer.returncode, *(out.replace(str(self.root), "") for out in (answer.stdout, answer.stderr))

    @property
    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text().replace(str(self.root), "").splitlines() if path.exists() else []

    def _here(self, text: str) -> str:
        return re.sub(r"(?<![\w.}/])/(?=(etc|var|usr|run|proc|opt|sbin)/)", f"{self.root}/", text)


@pytest.fixture
def host(tmp_path: Path, shell: list[str]) -> FakeHost:
    return FakeHost(tmp_path, shell)


@pytest.fixture
def module(request: pytest.FixtureRequest) -> Iterator[Any]:
    file = MODULES / f"Mid_{request.param}.py"
    load(str(file), file.read_bytes())
    yield sys.modules[file.stem]
    forget(str(file))


def use(moduleid: str) -> Any:
    return pytest.mark.parametrize("module", [moduleid], indirect=True)


def first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""


# 1001


@use("1001")
def test_the_journal_comes_first(module: Any, host: FakeHost) -> None:
    host.command("journalctl", "echo one; echo two")
    host.file("/var/log/syslog", "old\n")
    assert host.run(module.Modulehandle.script, lines="20") == (0, "one\ntwo\n", "")
    assert host.calls == ["journalctl -q --no-pager -n 20"]


@use("1001")
@pytest.mark.parametrize("empty", ["exit 0", "echo '-- No entries --'", "echo oops >&2; exit 1"])
@pytest.mark.parametrize("log", ["syslog", "messages"])
def test_an_empty_journal_is_no_log(module: Any, host: FakeHost, empty: str, log: str) -> None:
    host.command("journalctl", empty)
    host.file(f"/var/log/{log}", "".join(f"{n}\n" for n in range(100)))
    assert host.run(module.Modulehandle.script, lines="2") == (0, "98\n99\n", "")


@use("1001")
def test_a_host_without_any_log_fails_with_the_reason(module: Any, host: FakeHost) -> None:
    host.command("journalctl", "exit 0")
    host.file("/var/log/syslog", "")
    code, stdout, stderr = host.run(module.Modulehandle.script, lines="50")
    assert (code, stdout) == (3, "")
    assert first_line(stderr).startswith("There is no system log")


# 1002


@use("1002")
@pytest.mark.parametrize("log", ["auth.log", "secure"])
def test_logins_come_from_the_log_of_logins(module: Any, host: FakeHost, log: str) -> None:
    host.file(f"/var/log/{log}", "a\nb\nc\n")
    assert host.run(module.Modulehandle.script, lines="2") == (0, "b\nc\n", "")


@use("1002")
def test_logins_come_from_the_journal_else_from_last(module: Any, host: FakeHost) -> None:
    host.command("last", "echo 'bob pts/0'; echo 'eve pts/1'; echo; echo 'wtmp begins Mon'")
    assert host.run(module.Modulehandle.script, lines="1") == (0, "bob pts/0\n", "")
    host.command("journalctl", "echo 'sshd: bob'")
    assert host.run(module.Modulehandle.script, lines="9") == (0, "sshd: bob\n", "")


@use("1002")
def test_a_host_that_records_no_login_fails_with_the_reason(module: Any, host: FakeHost) -> None:
    host.command("last", "echo; echo 'wtmp begins Mon'")
    code, _, stderr = host.run(module.Modulehandle.script, lines="1")
    assert code == 3
    assert first_line(stderr).startswith("No login is recorded")


# 1003 and 1004


@use("1003")
def test_the_version_is_the_pretty_name_else_the_first_line_of_issue(module: Any, host: FakeHost) -> None:
    script = module.Modulehandle.script
    assert host.run(script)[0] == 3
    host.file("/etc/issue", "\nCentOS release 6.5 (Final)\nKernel\n")
    assert host.run(script) == (0, "CentOS release 6.5 (Final)\n", "")
    host.file("/usr/lib/os-release", 'PRETTY_NAME="Fedora Linux 40"\n')
    assert host.run(script) == (0, "Fedora Linux 40\n", "")
    host.file("/etc/os-release", 'NAME=Debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    assert host.run(script) == (0, "Debian GNU/Linux 12 (bookworm)\n", "")


@use("1004")
def test_kernel_modules_come_from_lsmod_else_from_proc(module: Any, host: FakeHost) -> None:
    script = module.Modulehandle.script
    assert host.run(script)[0] == 3
    host.file("/proc/modules", "xfs 1 0 - Live\n")
    assert host.run(script) == (0, "xfs 1 0 - Live\n", "")
    host.command("lsmod", "echo 'Module Size'")
    assert host.run(script) == (0, "Module Size\n", "")
    host.command("lsmod", "exit 1")
    assert host.run(script) == (0, "xfs 1 0 - Live\n", "")


# 1005


APPLY_NGINX = {"app": "nginx", "target": "/etc/nginx/nginx.conf"}


def apply(host: FakeHost, module: Any, app: str, target: str) -> tuple[int, str, str]:
    return host.run(module.APPLY, app=app, target=str(host.root) + target)


def nginx(host: FakeHost, *, check: str = "exit 0", status: str = "exit 0", reload: str = "exit 0") -> Path:
    host.command("nginx", check)
    host.file(
        "/etc/init.d/nginx", f"#!/bin/sh\ncase $1 in status) {status} ;; reload) {reload} ;; esac\n", 0o755
    )
    host.file("/etc/nginx/nginx.conf.omserver-new", "new\n")
    return host.file("/etc/nginx/nginx.conf", "old\n", 0o640)


@use("1005")
def test_the_place_of_a_file_is_found_or_the_application_is_missing(module: Any, host: FakeHost) -> None:
    for name, app in module.APPS.items():
        targets = " ".join(str(host.root) + target for target in app.targets)
        code, _, stderr = host.run(module.LOOK, app=name, needs=app.needs, targets=targets)
        assert (code, first_line(stderr)) == (3, f"{name} is not installed on this host.")
        last = Path(app.targets[-1])
        (host.root / str(last.parent).lstrip("/")).mkdir(parents=True, exist_ok=True)
        if app.needs:
            host.command(app.needs, "exit 0")
        assert host.run(module.LOOK, app=name, needs=app.needs, targets=targets) == (0, f"{last}\n", "")


@use("1005")
def test_a_file_is_replaced_checked_and_loaded_and_the_old_one_kept(module: Any, host: FakeHost) -> None:
    target = nginx(host)
    code, stdout, stderr = apply(host, module, **APPLY_NGINX)
    assert (code, stdout, stderr) == (0, "/etc/nginx/nginx.conf was replaced.\n", "")
    assert target.read_text() == "new\n"
    assert target.stat().st_mode & 0o777 == 0o640
    assert target.with_name("nginx.conf.omserver-old").read_text() == "old\n"
    assert sorted(path.name for path in target.parent.iterdir()) == ["nginx.conf", "nginx.conf.omserver-old"]
    assert host.calls == ["nginx -t"]


@use("1005")
def test_the_same_file_again_does_nothing(module: Any, host: FakeHost) -> None:
    target = nginx(host)
    target.write_text("new\n")
    code, stdout, _ = apply(host, module, **APPLY_NGINX)
    assert (code, stdout) == (0, "/etc/nginx/nginx.conf is up to date; nothing was done.\n")
    assert host.calls == []
    assert [path.name for path in target.parent.iterdir()] == ["nginx.conf"]


@use("1005")
def test_a_file_that_the_check_refuses_is_taken_back(module: Any, host: FakeHost) -> None:
    target = nginx(host, check="echo 'line 3: what is this' >&2; exit 1")
    code, _, stderr = apply(host, module, **APPLY_NGINX)
    assert code == 5
    reason, detail = stderr.splitlines()
    assert reason == "The check refused the new /etc/nginx/nginx.conf; the old one is back."
    assert detail == "line 3: what is this"
    assert target.read_text() == "old\n"


@use("1005")
def test_a_first_file_that_the_check_refuses_is_removed(module: Any, host: FakeHost) -> None:
    target = nginx(host, check="exit 1")
    target.unlink()
    assert apply(host, module, **APPLY_NGINX)[0] == 5
    assert list(target.parent.iterdir()) == []


@use("1005")
def test_a_file_that_cannot_be_loaded_is_taken_back(module: Any, host: FakeHost) -> None:
    target = nginx(host, reload="echo 'no memory'; exit 1")
    code, _, stderr = apply(host, module, **APPLY_NGINX)
    assert (code, stderr.splitlines()[1]) == (7, "no memory")
    assert target.read_text() == "old\n"


@use("1005")
def test_a_service_that_does_not_run_is_not_started(module: Any, host: FakeHost) -> None:
    nginx(host, status="exit 3", reload="exit 1")
    code, stdout, _ = apply(host, module, **APPLY_NGINX)
    assert code == 0
    assert "nginx does not run; the file counts from its next start." in stdout


@use("1005")
def test_a_host_where_nothing_manages_services_is_a_failure(module: Any, host: FakeHost) -> None:
    target = nginx(host)
    (host.root / "etc/init.d/nginx").unlink()
    code, _, stderr = apply(host, module, **APPLY_NGINX)
    assert code == 7
    assert "Nothing here can reload nginx" in stderr
    assert target.read_text() == "old\n"


@use("1005")
def test_systemd_reloads_where_it_runs(module: Any, host: FakeHost) -> None:
    nginx(host)
    (host.root / "run/systemd/system").mkdir(parents=True)
    host.command("systemctl", "exit 0")
    assert apply(host, module, **APPLY_NGINX)[0] == 0
    assert host.calls == ["nginx -t", "systemctl is-active nginx.service", "systemctl reload nginx.service"]


@use("1005")
def test_kernel_settings_that_the_kernel_refuses_are_taken_back(module: Any, host: FakeHost) -> None:
    host.command("sysctl", "grep -q new \"$2\" && { echo 'read-only' >&2; exit 1; }; exit 0")
    (host.root / "bin/grep").symlink_to(shutil.which("grep") or "")
    target = host.file("/etc/sysctl.d/90-site.conf", "old\n")
    host.file("/etc/sysctl.d/90-site.conf.omserver-new", "new\n")
    code, _, stderr = apply(host, module, "sysctl", "/etc/sysctl.d/90-site.conf")
    assert (code, stderr.splitlines()[1]) == (7, "read-only")
    assert target.read_text() == "old\n"
    assert host.calls == ["sysctl -p /etc/sysctl.d/90-site.conf"] * 2


@use("1005")
def test_resin_is_restarted_by_its_own_script(module: Any, host: FakeHost) -> None:
    host.file("/opt/resin/bin/httpd.sh", 'echo "resin $1"\n', 0o755)
    host.file("/opt/resin/lib/site.jar.omserver-new", "new\n")
    code, stdout, _ = apply(host, module, "resinjar", "/opt/resin/lib/site.jar")
    assert (code, stdout) == (0, "/opt/resin/lib/site.jar was replaced.\nresin restart\n")


@use("1005")
def test_a_link_stays_a_link(module: Any, host: FakeHost) -> None:
    link = nginx(host)
    link.unlink()
    real = host.file("/etc/nginx/real.conf", "old\n")
    link.symlink_to(real)
    assert apply(host, module, **APPLY_NGINX)[0] == 0
    assert link.is_symlink()
    assert real.read_text() == "new\n"


# 1006


@use("1006")
def test_the_first_configuration_that_is_there_is_shown_with_its_path(module: Any, host: FakeHost) -> None:
    script = module.Modulehandle.script
    host.file("/etc/httpd/conf/httpd.conf", "ServerRoot /etc/httpd\n")
    found = host.run(script, app="apache")
    assert found == (0, "# /etc/httpd/conf/httpd.conf\nServerRoot /etc/httpd\n", "")


@use("1006")
def test_every_application_without_a_file_fails_with_the_reason(module: Any, host: FakeHost) -> None:
    script = module.Modulehandle.script
    for app in module.Modulehandle.app.values:
        code, stdout, stderr = host.run(script, app=app)
        if app == "limits":
            assert (code, stderr) == (0, "")
            assert stdout.strip().isdigit() or stdout.strip() == "unlimited"
        else:
            assert (code, stdout) == (3, "")
            assert first_line(stderr).startswith(
                f"There is no configuration of {app} on this host; looked for: /"
            )


# 1007


def init_service(host: FakeHost, name: str, *, restart: str = "exit 0", status: str = "exit 0") -> None:
    body = f'#!/bin/sh\necho "$0 $1" >>"{host.root}/calls"\n'
    host.file(
        f"/etc/init.d/{name}", f"{body}case $1 in restart) {restart} ;; status) {status} ;; esac\n", 0o755
    )


@use("1007")
def test_a_service_is_restarted_and_proves_that_it_runs(module: Any, host: FakeHost) -> None:
    init_service(host, "haproxy", restart="echo restarted")
    code, stdout, stderr = host.run(module.Modulehandle.script, service="haproxy")
    assert (code, stdout, stderr) == (0, "restarted\nhaproxy was restarted and runs.\n", "")
    assert host.calls == ["/etc/init.d/haproxy restart", "sleep 1", "/etc/init.d/haproxy status"]


@use("1007")
@pytest.mark.parametrize(
    ("service", "unit"),
    [("apache", "httpd"), ("apache", "apache2"), ("mysql", "mariadb"), ("snmp", "snmpd"), ("squid", "squid")],
)
def test_a_service_is_found_under_the_name_that_it_has_here(
    module: Any, host: FakeHost, service: str, unit: str
) -> None:
    (host.root / "run/systemd/system").mkdir(parents=True)
    host.command("systemctl", f'[ "$1" != cat ] || [ "$2" = {unit}.service ]')
    code, stdout, _ = host.run(module.Modulehandle.script, service=service)
    assert (code, stdout) == (0, f"{unit} was restarted and runs.\n")
    assert f"systemctl restart {unit}.service" in host.calls


@use("1007")
def test_a_wrong_configuration_leaves_the_service_alone(module: Any, host: FakeHost) -> None:
    init_service(host, "nginx")
    host.command("nginx", "echo 'unknown directive' >&2; exit 1")
    code, _, stderr = host.run(module.Modulehandle.script, service="nginx")
    assert code == 5
    assert stderr.splitlines() == [
        "The configuration of nginx is wrong; it was not restarted.",
        "unknown directive",
    ]
    assert host.calls == ["nginx -t"]


@use("1007")
def test_a_restart_that_fails_and_a_service_that_dies_are_told_apart(module: Any, host: FakeHost) -> None:
    script = module.Modulehandle.script
    init_service(host, "squid", restart="echo 'no port'; exit 1")
    assert host.run(script, service="squid")[0::2] == (6, "The restart of squid failed.\nno port\n")
    init_service(host, "squid", status="exit 3")
    code, _, stderr = host.run(script, service="squid")
    assert (code, first_line(stderr)) == (7, "squid was restarted and does not run.")


@use("1007")
def test_a_service_that_is_not_there_and_a_host_without_a_manager_are_told_apart(
    module: Any, host: FakeHost
) -> None:
    script = module.Modulehandle.script
    code, _, stderr = host.run(script, service="resin")
    assert (code, first_line(stderr)[:41]) == (4, "Nothing manages services on this host: sy")
    init_service(host, "cron")
    code, _, stderr = host.run(script, service="resin")
    assert (code, first_line(stderr)) == (3, "There is no service resin on this host; looked for: resin")
