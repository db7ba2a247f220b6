"""The console as a person uses it: a browser, gunicorn, a master, and real Salt minions."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.fleet.fleet import SaltFleet
from tests.ports import free_port
from tests.system import System

CHECKOUT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: What must not come true, wherever it is printed or written. Each would say so through `window.harmed`.
PAYLOADS = [
    "<script>harmed('script')</script>",
    "</pre></code></td></table><script>harmed('out')</script>",
    "<img src=x onerror=harmed('img')>",
    "<svg/onload=harmed('svg')>",
    "<svg><script>harmed('svgscript')</script></svg>",
    "<iframe srcdoc='<script>parent.harmed(1)</script>'></iframe>",
    "<a href='javascript:harmed(1)'>link</a>",
    "<body onload=harmed('body')>",
    "<style>*{display:none}</style>",
    "<meta http-equiv=refresh content='0;url=/sign-in'>",
    "<base href='http://evil.example/'>",
    "<form action=/sign-out method=post><button>x</button></form>",
    "<div hx-get=/jobs hx-trigger=load hx-on:click='harmed(1)'>hx</div>",
    "\"' onmouseover=harmed('attribute') x='",
    "{{ harmed('template') }} {% raw %} ${harmed('js')}",
    "<!--><script>harmed('comment')</script>-->",
    "<template><script>harmed('tpl')</script></template>",
    "<math><mi//xlink:href='data:x,<script>harmed(1)</script>'>",
    "\x1b]8;;javascript:harmed(1)\x07terminal link\x1b]8;;\x07",
    "\u202e<tpircs>\u202c \x00 \x08 \x1b[2J\x1b[31m",
]
HOSTILE_MODULE = '''"""{title}"""

from omserver_master import ShellModule, Text


class Modulehandle(ShellModule):
    title_zh = {title!r}
    repeat = "read_only"
    risk = "low"
    word = Text(default={title!r}, pattern=".*", label={title!r}, help={title!r})
    script = """#!/bin/sh
cat <<'PAYLOADS'
{payloads}
PAYLOADS
"""
'''


SLOW_MODULE = '''"""Sleep."""

from omserver_master import ShellModule


class Modulehandle(ShellModule):
    repeat = "read_only"
    timeout = 120
    command = "sleep 100"
'''
#: A page of every kind; job 1 is the first that these tests make.
PAGES = [
    "/run?module=1001&host=web-01",
    "/jobs",
    "/jobs/1",
    "/jobs/1/groups",
    "/jobs/1/again",
    "/jobs/1/again?on=all",
    "/hosts",
    "/hosts/web-01",
    "/modules",
    "/modules/1005",
    "/audit",
    "/people",
    "/connections",
    "/connections/salt",
    "/add-connection?kind=salt",
    "/add-host",
    "/change-hosts?host=web-01",
    "/import",
    "/settings",
    "/nothing",
]


class Console:
    """The console's server process in front of *system*."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.system.home / "logs" / "web.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "omserver_master", "web"],
                env={**self.system.environment, "OMSERVER_WEB_PORT": str(self.port)},
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.system.home / "logs" / "web.log").read_text()[-3000:])

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(15)


def modules_with_a_hostile_one(folder: Path) -> Path:
    """The stock modules, and one that prints the payloads and bears one as its title."""
    shutil.copytree(CHECKOUT / "modules", folder)
    payloads = "\n".join(each.replace("\x00", "") for each in PAYLOADS)
    escaped = payloads.replace("\\", "\\\\").replace('"', '\\"')
    title = PAYLOADS[2].replace("'", "")
    (folder / "Mid_9001.py").write_text(
        HOSTILE_MODULE.format(title=title, payloads=escaped), encoding="utf-8"
    )
    return folder


@pytest.fixture(scope="module")
def console(fleet: SaltFleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    home = tmp_path_factory.mktemp("console")
    system = System(home / "home", modules_dir=modules_with_a_hostile_one(home / "modules"))
    system.add_user("olga", "operator")
    system.add_hosts(list(fleet.minions), system.add_connection("salt", "salt", fleet.connection_settings))
    console = Console(system)
    try:
        system.start()
        console.start()
        yield console
    finally:
        console.stop()
        system.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, console: Console) -> Iterator[Callable[..., Page]]:
    """Opens pages that fail the test if anything is written to the browser's console that should not be."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_one(**options: object) -> Page:
        options = {"viewport": {"width": 1280, "height": 800}, "locale": "en-US", **options}
        context = chromium.new_context(base_url=console.address, **options)
        contexts.append(context)
        context.expose_function("harmed", lambda *words: wrong.append(f"harmed: {words}"))
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text) if "Content Security" in line.text else None)
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.set_default_timeout(20_000)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert wrong == []


def sign_in(page: Page, console: Console, user: str = "admin") -> None:
    page.goto("/sign-in")
    page.fill("#user", user)
    page.fill("#password", console.system.passwords[user])
    page.click("#sign-in")
    page.wait_for_url("**/run")


def pick(page: Page, *hosts: str) -> None:
    for host in hosts:
        page.check(f'#host-list [name=host][value="{host}"]')


def run_button(page: Page, hosts: int) -> None:
    """Press the button once what it would do has been checked."""
    words = f"Run on {hosts} host{'s' if hosts > 1 else ''}"
    expect(page.locator("#check:not(.stale):not(.htmx-request) #run")).to_have_text(words)
    page.click("#run")


def ended(page: Page) -> None:
    expect(page.locator("#job-head .state")).to_have_text(re.compile("succeeded|failed"), timeout=60_000)


def test_a_person_runs_a_module_on_two_hosts_and_finds_it_again(
    open_page: Callable[..., Page], console: Console
) -> None:
    page = open_page()
    page.goto("/")
    expect(page).to_have_url(re.compile(r"/sign-in\?next="))
    sign_in(page, console)

    page.select_option("#categ", label="Linux.Web (3)")
    pick(page, "web-01", "web-02")
    expect(page.locator("#picked-count")).to_have_text("2 hosts picked")
    page.check("#m-1001")
    page.fill("[name='p.lines']", "20")
    expect(page.locator(".targets li")).to_have_count(2)
    expect(page.locator(".command code")).to_have_text(
        re.compile(r"omctl run 1001 .*--host web-01 .*--host web-02.*lines=20")
    )
    run_button(page, 2)

    expect(page).to_have_url(re.compile(r"/jobs/\d+$"))
    loaded = page.evaluate("performance.timeOrigin")
    for number in range(2):
        row = page.locator(".result").nth(number)
        expect(row.locator(".state").first).to_have_text("ok", timeout=60_000)
        expect(row.locator("pre")).not_to_be_empty()
    ended(page)
    assert page.evaluate("performance.timeOrigin") == loaded, "nothing was loaded again"
    printed = page.locator(".result pre").first.inner_text()
    assert 0 < len(printed.strip().splitlines()) <= 20
    job = page.url

    page.goto("/jobs")
    page.locator(f"a[href='{job.removeprefix(console.address)}']").first.click()
    expect(page.locator(".result pre").first).to_have_text(printed.strip(), use_inner_text=True)

    page.click(".menu summary[title=admin]")
    page.click("#sign-out")
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    page.goto(job)
    expect(page).to_have_url(re.compile("/sign-in"))


def test_everything_works_without_script(open_page: Callable[..., Page], console: Console) -> None:
    page = open_page(java_script_enabled=False)
    sign_in(page, console, "olga")
    page.fill("#host-search", "web")
    page.get_by_role("button", name="Show").first.click()
    expect(page.locator("#host-list input")).to_have_count(2)
    pick(page, "web-01", "web-02")
    page.check("#m-1003")
    page.get_by_role("button", name="Show").first.click()
    expect(page.locator("#run")).to_have_text("Run on 2 hosts")
    page.click("#run")
    for _ in range(60):
        if page.locator("#job-head .state").inner_text() in ("succeeded", "failed"):
            break
        time.sleep(0.5)
        page.reload()
    expect(page.locator(".result pre")).to_have_count(2)


def test_a_button_pressed_twice_makes_one_job(open_page: Callable[..., Page], console: Console) -> None:
    page = open_page()
    sign_in(page, console)
    page.goto("/run?module=1003&host=web-01")
    with console.system.client() as client:
        before = len(client.jobs(limit=500)["jobs"])
        page.dblclick("#run")
        page.wait_for_url("**/jobs/*")
        first = page.url
        page.go_back()
        page.click("#run")
        page.wait_for_url("**/jobs/*?again=1")
        assert page.url.startswith(first)
        assert len(client.jobs(limit=500)["jobs"]) == before + 1
    expect(page.get_by_text("This form had been sent already")).to_be_visible()


def test_a_fault_is_said_at_its_field_while_one_types(
    open_page: Callable[..., Page], console: Console
) -> None:
    page = open_page()
    sign_in(page, console)
    page.goto("/run?module=1001&host=web-01")
    field = page.locator("[data-field=lines]")
    field.locator("input").fill("5000")
    expect(field.locator(".wrong-words")).to_have_text("A whole number from 1 to 999.")
    expect(page.locator("#run")).to_have_count(0)
    expect(field.locator("input")).to_be_focused()
    field.locator("input").fill("5")
    expect(field.locator(".wrong-words")).to_be_empty()
    expect(page.locator("#run")).to_be_enabled()


def test_quick_clicks_leave_no_error_in_the_log(open_page: Callable[..., Page], console: Console) -> None:
    page = open_page()
    errors: list[str] = []
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    sign_in(page, console)
    page.goto("/run?module=1003")
    page.evaluate("""() => {
        document.addEventListener("htmx:sendAbort", () => { document.body.dataset.aborted = "yes"; });
        for (const box of document.querySelectorAll("#host-list [name=host]")) box.click();
    }""")
    expect(page.locator("#run")).to_be_enabled()
    assert page.evaluate("document.body.dataset.aborted") == "yes"
    expect(page.locator("#banner")).to_be_hidden()
    assert errors == []


def test_nothing_that_others_wrote_comes_alive(open_page: Callable[..., Page], console: Console) -> None:
    with console.system.client() as client:
        done = client.run("9001", ["web-01", "web-02"])
    job = done["job"]["id"]
    assert done["job"]["state"] == "succeeded"
    host = done["results"][0]["host_id"]
    page = open_page()
    sign_in(page, console)
    paths = [
        "/run?module=9001&host=web-01",
        "/run?host=" + "%3Cimg src=x onerror=harmed(1)%3E&q=%22%3E%3Cscript%3Eharmed(1)%3C/script%3E",
        "/jobs",
        f"/jobs/{job}",
        f"/jobs/{job}/groups",
        f"/jobs/{job}/hosts/{host}",
        "/modules",
        "/modules/9001",
        "/hosts",
        "/audit",
        "/search?q=%3Csvg/onload=harmed(1)%3E",
    ]
    for path in paths:
        page.goto(path)
        page.wait_for_load_state("networkidle") if "/jobs/" not in path else page.wait_for_timeout(300)
        assert page.url == console.address + path.replace(" ", "%20") or path.startswith("/run"), path
        for intruder in (
            "main script",
            "main iframe",
            "main style",
            "main base",
            "main meta",
            "main img",
            "main [onerror]",
        ):
            assert page.locator(intruder).count() == 0, (path, intruder)
    page.goto(f"/jobs/{job}")
    printed = page.locator(".result pre").first.inner_text()
    for payload in PAYLOADS[:17]:
        assert payload in printed
    assert "␛]8;;javascript:harmed(1)␇" in printed
    page.goto("/search")
    page.fill("#search", "<img src=x onerror=harmed(1)>")
    expect(page.locator("#found")).to_contain_text("<img src=x onerror=harmed(1)>")


def test_a_job_that_runs_is_followed_and_can_be_stopped(
    open_page: Callable[..., Page], console: Console
) -> None:
    slow = console.system.settings.modules_dir / "Mid_9002.py"
    slow.write_text(SLOW_MODULE)
    page = open_page()
    sign_in(page, console)
    page.goto("/run?module=9002&host=web-01&host=web-02")
    run_button(page, 2)
    expect(page.locator("#job-head .state")).to_have_text("running", timeout=30_000)
    page.click("#cancel-menu summary")
    page.click("#cancel")
    expect(page.locator("#job-head .state")).to_have_text("cancelled", timeout=60_000)
    expect(page.locator(".result .state").first).to_have_text("cancelled")


def test_when_the_master_is_away_the_page_says_so_and_comes_back(
    open_page: Callable[..., Page], console: Console
) -> None:
    page = open_page()
    sign_in(page, console)
    console.system.stop()
    try:
        page.goto("/jobs")
        expect(page.get_by_role("heading", name="The master does not answer")).to_be_visible()
    finally:
        console.system.start()
    expect(page.locator("h1")).to_have_text("Jobs", timeout=30_000)


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_the_screen(
    open_page: Callable[..., Page], console: Console, width: int, scheme: str, language: str
) -> None:
    page = open_page(viewport={"width": width, "height": 844}, color_scheme=scheme, locale=language)
    sign_in(page, console)
    for path in PAGES:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_keys_lead_through_the_console(open_page: Callable[..., Page], console: Console) -> None:
    page = open_page()
    sign_in(page, console)
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("#picked-count")).to_have_text("1 host picked")
    page.keyboard.press("g")
    page.keyboard.press("j")
    page.wait_for_url("**/jobs")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/*")
    page.keyboard.press("Escape")
    page.wait_for_url("**/jobs")
