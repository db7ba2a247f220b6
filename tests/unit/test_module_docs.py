"""Every example in the pages for authors is loaded, described, and run if a case follows it."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest
from test_module_cases import FIELDS, MODULES, begin, check

import omserver_master
from omserver_master.contract.attributes import _RULES, NOT_YET
from omserver_master.contract.hosts import Host
from omserver_master.contract.module import Module
from omserver_master.contract.params import Param
from omserver_master.registry import oldimports
from omserver_master.registry.loading import describe, forget, load

ROOT = MODULES.parent
PAGES = [ROOT / "docs" / "modules.md", ROOT / "modules" / "README.md"]
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```json\n(.*?)```\n)?", re.DOTALL)
EXAMPLES = [
    pytest.param(*match.groups(), id=f"{page.name}-{number}")
    for page in PAGES
    for number, match in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8")), start=1)
]
FILE = MODULES / "Mid_999999.py"


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process that runs module code has for imports of 2014; gone after the test."""
    for name in (*oldimports.STAND_INS, "Public_lib"):
        monkeypatch.setitem(sys.modules, name, sys)  # put back what is there now
    oldimports.install()


@pytest.mark.parametrize(("source", "case"), EXAMPLES)
def test_an_example_works_as_it_is_shown(source: str, case: str | None, stand_ins: None) -> None:
    try:
        handle = load(str(FILE), source.encode())
        assert describe(handle)["title"]
        if case:
            play(handle, json.loads(case))
    finally:
        forget(str(FILE))


def play(handle: Any, case: dict[str, Any]) -> None:
    assert set(case) <= FIELDS
    host = Host(**{"name": "web-01", "os_family": "debian"} | case.get("host", {}))
    check(begin(handle, host, case, FILE), case)


def test_there_are_examples_with_cases() -> None:
    assert len(EXAMPLES) >= 8
    assert sum(1 for example in EXAMPLES if example.values[1]) >= 5


def page() -> str:
    return PAGES[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*_RULES, *NOT_YET])
def test_every_attribute_is_documented(name: str) -> None:
    assert f"`{name}`" in page()


@pytest.mark.parametrize("name", omserver_master.__all__)
def test_every_name_for_authors_is_documented(name: str) -> None:
    assert re.search(rf"`{name}\b", page())


def test_every_kind_of_parameter_is_in_the_table() -> None:
    def kinds(cls: type[Param]) -> set[str]:
        return {cls.__name__} | {kind for below in cls.__subclasses__() for kind in kinds(below)}

    own = {name for name in kinds(Param) if name in omserver_master.__all__}
    assert own == set(re.findall(r"^\| `(\w+)\(", page(), re.M)) & own
    assert len(own) == 9


def test_every_case_field_is_documented() -> None:
    for field in FIELDS:
        assert f"| `{field}` |" in page()


def test_what_the_defaults_are_is_what_the_page_says() -> None:
    assert (Module.repeat, Module.timeout, Module.ok, Module.risk) == ("once", 60, (0,), "low")
