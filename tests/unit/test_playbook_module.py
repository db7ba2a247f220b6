"""A PlaybookModule: a playbook with typed parameters as values that are never templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from omserver_master import Bool, Choices, Int, Number, PlaybookModule, Text, Time
from omserver_master.backends.ansible.yaml import unsafe_yaml
from omserver_master.contract.enginework import Playbook
from omserver_master.contract.mistakes import ModuleMistake

PLAY = "- hosts: all\n  tasks: []\n"


class Nginx(PlaybookModule):
    workers = Int(default=4, maximum=64)
    ratio = Number(default="0.10", maximum=1)
    debug = Bool(default=False)
    sites = Choices("a", "b")
    at = Time(default="03:30")
    title = Text(default="{{ 7*7 }}", pattern=".*")
    playbook = PLAY
    tags = ("web",)


def work(dry_run: bool = False) -> Playbook:
    module = Nginx("2001", [], {"workers": "8", "sites": "a,b"})
    module.dry_run = dry_run
    steps = module.steps(None)  # type: ignore[arg-type]
    found: Any = next(steps)  # type: ignore[arg-type]
    return found


def test_parameters_are_extra_variables_in_their_own_types() -> None:
    assert work().extra_vars == {
        "workers": 8,
        "ratio": 0.1,
        "debug": False,
        "sites": ["a", "b"],
        "at": "03:30",
        "title": "{{ 7*7 }}",
    }
    assert (work().text, work().tags, work().timeout) == (PLAY, ("web",), 600)
    assert Path(work().folder) == Path(__file__).parent


def test_a_dry_run_checks_and_shows_the_differences() -> None:
    assert (work().check, work().diff) == (False, False)
    assert (work(dry_run=True).check, work(dry_run=True).diff) == (True, True)
    assert Nginx.check is True
    assert (Nginx.repeat, Nginx.engines) == ("once", ("ansible",))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("playbook", "nowhere.yml"),
        ("playbook", "../site.yml"),
        ("playbook", ""),
        ("playbook", 5),
        ("tags", "web"),
        ("tags", ("--check",)),
        ("skip_tags", ("a b",)),
        ("engines", ("salt",)),
        ("engines", ()),
    ],
)
def test_a_mistake_is_told_by_the_name_of_the_attribute(name: str, value: object) -> None:
    with pytest.raises(ModuleMistake) as error:
        type("Modulehandle", (PlaybookModule,), {"playbook": PLAY, name: value})
    assert name in str(error.value)


def test_there_must_be_something_to_play() -> None:
    with pytest.raises(ModuleMistake, match="playbook"):
        type("Modulehandle", (PlaybookModule,), {}).check_complete()


class Unsafe(str):
    """A text that Ansible would not read as a template."""


class Loader(yaml.SafeLoader):
    """Reads ``!unsafe`` as Ansible does."""


Loader.add_constructor("!unsafe", lambda loader, node: Unsafe(loader.construct_scalar(node)))


@pytest.mark.parametrize(
    "text",
    ["", "a b", "{{ x }}", '"', "\\", "\n\t\r\0\x85\u2028", "é中😀", "!unsafe x", "{a: b}", "- x #", "yes"],
)
def test_every_text_arrives_as_it_is_and_marked(text: str) -> None:
    read = yaml.load(
        unsafe_yaml({text or "key": [text, {"b": text}], "n": 1, "flag": True, "none": None}), Loader
    )
    assert read == {text or "key": [text, {"b": text}], "n": 1, "flag": True, "none": None}
    assert all(type(found) is Unsafe for found in (read[text or "key"][0], read[text or "key"][1]["b"]))
