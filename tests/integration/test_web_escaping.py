"""Whatever a host, a module or a person wrote is text on every page, also where a job has many hosts."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.console_rig import HOSTILE, HOSTS, MODULES, Browser, FakeMaster, module, param, result

#: A terminal's sequence, characters that turn and hide text, and markup.
EVIL = "\x1b[31m\u202eevil\u200b\x00" + HOSTILE + "</pre></title></textarea><p hx-get=/x onclick=harm()>"
#: The name of a host cannot have control characters; it can have all else.
EVIL_NAME = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
HIDDEN = "\x1b\u202e\u200b\x00"
#: Tags that no page of ours has, or that only its frame has; ours have no such attributes either.
NEVER = {"iframe", "object", "embed", "base", "math", "font"}
OURS = {"script": ("/static/",), "img": ("/static/",)}
#: Attributes and fields that bring a text back as it was: they must not be changed, and nobody sees them.
EXACT_ATTRIBUTES = {"value", "data-copy", "href"}

PAGES = [
    "/run?module=2901&host=web-01",
    "/run?module=2901&params_of=2901&host=web-01&p.word=x",
    "/run?from=7",
    "/jobs",
    "/jobs/7",
    "/jobs/7?state=failed",
    "/jobs/7/groups",
    "/jobs/7/hosts/1",
    "/jobs/7/hosts/1?part=1",
    "/jobs/7/cancel",
    "/hosts",
    "/hosts/web-01",
    "/modules",
    "/modules/2901",
    "/modules/2902",
    "/audit",
    "/people",
    "/connections",
    "/connections/salt",
    "/add-connection?kind=salt",
    "/add-host",
    "/change-hosts?host=" + quote(EVIL_NAME),
    "/import",
    "/import/t0",
    "/search?q=evil",
]


class Reader(HTMLParser):
    """Collects what is wrong with a page, and all text that one sees on it."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.seen: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("textarea", "template", "svg", "script"):
            self._inside.append(tag)
        if tag in NEVER:
            self.wrong.append(f"<{tag}>")
        named = {name: value or "" for name, value in attrs}
        if tag in OURS and not named.get("src", "").startswith(OURS[tag]):
            self.wrong.append(f"<{tag} {named}>")
        for name, value in named.items():
            if name.startswith("on") or value.lower().strip().startswith("javascript:"):
                self.wrong.append(f"{name}={value}")
            if name == "hx-get" and value == "/x":
                self.wrong.append("hx-get")
            if name not in EXACT_ATTRIBUTES:
                self.seen.append(value)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if "textarea" not in self._inside:
            self.seen.append(data)


class HostileMaster(FakeMaster):
    """A master all of whose texts are hostile, with a job on five hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.text = EVIL
        host = {**HOSTS[0], "name": EVIL_NAME, "os": EVIL_NAME, "app": EVIL_NAME, "categ": EVIL_NAME}
        self.hosts = [{**host, "id": number, "connection": EVIL_NAME} for number in range(1, 6)]
        self.hosts.append({**host, "id": 6, "name": "web-01", "state": EVIL_NAME})
        self.job = {
            **self.job,
            **dict.fromkeys(("title", "title_zh", "user", "reason"), EVIL),
            "params": {EVIL: EVIL, "list": [EVIL, EVIL]},
            "hosts": 5,
            "counts": {"ok": 4, "failed": 1},
        }
        self.results = [
            result(host, "failed" if host["id"] == 5 else "ok", 1, **self._row(host["id"]))
            for host in self.hosts[:5]
        ]
        self.output = EVIL.encode()

    @staticmethod
    def _row(number: int) -> dict[str, Any]:
        # A row shows the first line only where it says something else than the reason.
        return {"first_line": f"first {EVIL}", "reason": EVIL if number % 2 else "", "connection": EVIL_NAME}

    def _hosts_list(self, search: str = "", **more: Any) -> dict[str, Any]:
        found = [host for host in self.hosts if search in (host["name"], "evil", "")]
        return {"hosts": found, "total": len(found)}

    def _hosts_categories(self) -> dict[str, Any]:
        apps = [{"id": 1, "name": EVIL_NAME, "hosts": 2}]
        return {"categories": [{"id": 1, "name": EVIL_NAME, "hosts": 2, "apps": apps}]}

    def _connections_list(self) -> dict[str, Any]:
        found = super()._connections_list()["connections"]
        return {"connections": [*found, {**found[0], "name": EVIL_NAME}]}

    def _named(self, hosts: list[Any]) -> list[dict[str, Any]]:
        return self.hosts

    def _job_preview(self, module: str, params: Any, hosts: list[Any]) -> dict[str, Any]:
        warnings = [{"code": "new", "text": EVIL}, {"code": "maintenance", "host": EVIL}]
        return {**super()._job_preview(module, params, hosts), "warnings": warnings, "params": {EVIL: EVIL}}


def evil_modules() -> list[dict[str, Any]]:
    words = {"label": EVIL, "label_zh": EVIL, "help": EVIL, "help_zh": EVIL}
    choices = [[EVIL, EVIL, EVIL], ["b", EVIL, ""]]
    kinds = ["int", "text", "lines", "bool", "choice", "choices", "path", "time"]
    params = [
        param(kind, kind, **words, default=EVIL if kind != "int" else None, choices=choices, pattern=EVIL)
        for kind in kinds
    ]
    texts = dict.fromkeys(("title_zh", "caption", "caption_zh", "doc"), EVIL)
    params.append(param("word", "text", **words, pattern=EVIL))  # its rule is on the page: it has no choices
    return [
        module("2901", EVIL, **texts, params=params, engines=["salt"], direct=True),
        module("2902", EVIL, **texts, broken={"line": 3, "reason": EVIL}),
    ]


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Browser:
    monkeypatch.setattr("tests.console_rig.MODULES", [*MODULES, *evil_modules()])
    browser = Browser(tmp_path, HostileMaster())
    browser.sign_in()
    return browser


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


def hidden_in(reader: Reader) -> set[str]:
    return {letter for text in reader.seen for letter in text if letter in HIDDEN}


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_that_was_written_elsewhere_is_markup_or_hides(
    browser: Browser, path: str, language: str
) -> None:
    browser.send("/preferences", lang=language)
    answer = browser.get(path)
    assert answer.status_code == 200
    reader = read(answer.text)
    assert reader.wrong == []
    assert hidden_in(reader) == set()
    assert "alert(" in "".join(reader.seen), "the page does show it"


def test_the_rows_of_a_running_job_are_text_too(browser: Browser) -> None:
    pieces = browser.get("/jobs/7/changes").json
    for name in ("head", "counts", "actions"):
        assert read(pieces[name]).wrong == []
    assert len(pieces["rows"]) == 5
    for row in pieces["rows"]:
        reader = read(row["html"])
        assert reader.wrong == []
        assert hidden_in(reader) == set()
        assert "first " in reader.seen
    streamed = browser.get("/jobs/7/events").text
    (news,) = (line.removeprefix("data: ") for line in streamed.splitlines() if line.startswith("data: {"))
    assert json.loads(news)["rows"] == pieces["rows"]


def test_the_reader_sees_what_it_is_to_see() -> None:
    for bad in (
        HOSTILE,
        "<p onclick=x>",
        "<a href=' javascript:x'>",
        "<iframe>",
        "<p hx-get=/x>",
        "<base href=/>",
    ):
        assert read(bad).wrong != [], bad
    assert hidden_in(read(f"<p title='{EVIL}'>")) != set()
