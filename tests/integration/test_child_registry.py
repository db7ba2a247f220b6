"""The registry: what is found by an id, and that no id and no file does more than that."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omserver_client.errors import BrokenModule, InvalidParam, UnknownModule
from omserver_master.registry import registry as registry_module
from omserver_master.registry.pool import ChildLimits, ChildPool
from omserver_master.registry.registry import Registry

GOOD = '''"""Show something.

The caption.
"""
from omserver_master import Int, ShellModule

class Modulehandle(ShellModule):
    title_zh = "显示"
    repeat = "read_only"
    lines = Int(default=50, maximum=1000)
    command = "tail -n", lines
'''


@pytest.fixture(scope="module")
def pool() -> Iterator[ChildPool]:
    with ChildPool(2) as pool:
        yield pool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "modules").mkdir()
    return tmp_path / "modules"


@pytest.fixture
def registry(folder: Path, pool: ChildPool) -> Registry:
    return Registry(folder, pool)


def write(folder: Path, source: str, moduleid: str = "2001") -> Path:
    path = folder / f"Mid_{moduleid}.py"
    path.write_text(source, encoding="utf-8")
    return path


def test_a_module_is_found_by_its_id_and_known_by_its_hash(registry: Registry, folder: Path) -> None:
    path = write(folder, GOOD)
    found = registry.load("2001")
    assert found.broken is None
    assert (found.title, found.title_zh, found.caption) == ("Show something.", "显示", "The caption.")
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.read_params(["20"]) == {"lines": "20"}
    assert found.show_params({}) == {"lines": "50"}
    with pytest.raises(InvalidParam):
        found.read_params({"lines": "x"})


def test_an_edit_counts_at_once(registry: Registry, folder: Path) -> None:
    write(folder, GOOD)
    before = registry.load("2001")
    write(folder, GOOD.replace("Show something", "Show more"))
    assert registry.load("2001").title == "Show more."
    assert registry.load("2001").sha256 != before.sha256


def test_an_unchanged_file_is_described_once(
    registry: Registry, folder: Path, pool: ChildPool, monkeypatch: Any
) -> None:
    write(folder, GOOD)
    registry.load("2001")
    monkeypatch.setattr(pool, "describe", lambda *args: pytest.fail("described again"))
    assert registry.load("2001").title == "Show something."


def test_a_broken_file_is_looked_at_again_after_a_while(
    registry: Registry, folder: Path, monkeypatch: Any
) -> None:
    write(folder, GOOD.replace('command = "tail -n", lines', 'script = "x.sh"'))
    assert "no file 'x.sh'" in registry.load("2001").broken.reason
    (folder / "x.sh").write_text("echo\n")
    assert registry.load("2001").broken
    later = time.monotonic() + 60
    monkeypatch.setattr(registry_module.time, "monotonic", lambda: later)
    assert registry.load("2001").broken is None


def test_the_list_holds_all_modules_by_number_and_the_broken_ones_too(
    registry: Registry, folder: Path
) -> None:
    write(folder, GOOD, "10000")
    write(folder, "x = (\n", "3001")
    write(folder, GOOD, "2001")
    for other in ("Mid_01.py", "Mid_2001.pyc", "Mid_0999.py", "mid_2002.py", "Mid_1234567.py", "README.md"):
        (folder / other).write_text("")
    found = registry.list()
    assert [(module.id, bool(module.broken)) for module in found] == [
        ("2001", False),
        ("3001", True),
        ("10000", False),
    ]
    assert [module.to_wire()["broken"] is None for module in found] == [True, False, True]
    assert found[1].title == "Mid_3001"


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path, pool: ChildPool) -> None:
    registry = Registry(tmp_path / "gone", pool)
    assert registry.list() == []
    with pytest.raises(UnknownModule):
        registry.load("1001")


BROKEN = [
    ("class Modulehandle(\n", 1, "SyntaxError"),
    ('"""T."""\n\nprint "old"\n', 3, "Python 2"),
    ("x = 1\n", None, "no class Modulehandle"),
    ("Modulehandle = 5\n", None, "no class Modulehandle"),
    ("\nclass Modulehandle:\n    pass\n", 2, "no method run"),
    ("\n\nimport nothing_like_this\n", 3, "no module 'nothing_like_this'"),
    ("\nimport salt.config\n", 2, "no module 'salt.config' to import here; of Salt there is salt.client"),
    ("from Public_lib import *\nfrom ansible.inventory import Inventory\n", 2, "the engine is chosen"),
    (f"import salt.client\n{GOOD}", 1, "A module with steps names no engine"),
    ("from Public_lib import *\n\nfrom config import *\n", 3, "site settings are not for modules"),
    ("import urllib2\n", 1, "urllib.request"),
    ("try:\n    pass\nexcept Exception, e:\n    pass\n", 3, "write: except Exception as e:"),
    ("if 1 <> 2:\n    pass\n", 1, "write != for <>"),
    ("x = `1`\n", 1, "write repr(x)"),
    ("\nx = 0777\n", 2, "write 0o777"),
    ("raise ValueError, 'x'\n", 1, 'raise ValueError("text")'),
    ("exec 'x = 1'\n", 1, "exec is a function"),
    ("x = 10L\n", 1, "write 10 for 10L"),
    ("def f((a, b)):\n    pass\n", 1, "take the tuple apart"),
    ("x = ur'a'\n", 1, "write r'...'"),
    ("if 1:\n\tx = 1\n        y = 2\n", 3, "tabs or spaces"),
    ("x = {}\nx.has_key(1)\n", 2, "It was written for Python 2: write: name in d."),
    ("x = xrange(3)\n", 1, "write range"),
    ("import os\n\ndef f():\n    return 1 / 0\nf()\n", 4, "ZeroDivisionError"),
    ("raise SystemExit(3)\n", 1, "sys.exit"),
    ("x = '" + "\0" + "'\n", None, "null byte"),
    (GOOD.replace("maximum=1000", "maximum=10"), 10, "lines: its default"),
    (GOOD.replace('"read_only"', '"often"'), 9, "repeat: may be"),
    (GOOD.replace("repeat", "run_as"), 9, "run_as: is not known"),
    (GOOD.replace('    command = "tail -n", lines\n', ""), 7, "command: is missing"),
    ("from omserver_master import ShellModul\n", 1, "ImportError"),
    ("import sys\nsys.setrecursionlimit(50)\ndef f(): f()\nf()\n", 3, "RecursionError"),
]


@pytest.mark.parametrize(("source", "line", "reason"), BROKEN)
def test_a_broken_file_is_shown_with_the_line_and_the_reason(
    registry: Registry, folder: Path, source: str, line: int | None, reason: str
) -> None:
    write(folder, source)
    write(folder, GOOD, "2002")
    broken = registry.load("2001").broken
    assert broken is not None
    assert reason in broken.reason
    assert broken.line == line
    with pytest.raises(BrokenModule) as caught:
        registry.load("2001").check()
    assert caught.value.details == {"module": "2001", "line": line, "reason": broken.reason}
    assert registry.load("2002").broken is None


def test_links_folders_pipes_and_giants_are_not_modules(
    registry: Registry, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside.py").write_text(GOOD)
    (folder / "Mid_2001.py").symlink_to(tmp_path / "outside.py")
    (folder / "Mid_2002.py").mkdir()
    os.mkfifo(folder / "Mid_2003.py")
    (folder / "Mid_2004.py").write_bytes(b"#" * ((1 << 20) + 1))
    (folder / "Mid_2005.py").symlink_to("/dev/zero")
    for module in registry.list():
        assert module.broken is not None
        assert module.source == b""
    assert len(registry.list()) == 5


def test_a_module_of_2014_is_direct_and_takes_texts_in_order(registry: Registry, folder: Path) -> None:
    write(
        folder, "class Modulehandle:\n    def __init__(self, a, b, c): pass\n    def run(self): return {}\n"
    )
    found = registry.load("2001")
    assert found.direct
    assert found.read_params(["a", "b"]) == ["a", "b"]
    with pytest.raises(InvalidParam):
        found.read_params(["a\0"])


BAD_IDS = [
    "", "1", "999", "0001", "01001", "1234567", "1001 ", " 1001", "1001\n", "1001\0", "1001;id", "../1001",
    "..", "/etc/passwd", "1001/../1002", "1001.py", "Mid_1001", "١٠٠١", "１００１", "1e3", "-1001",
    "1001' or '1",    "%31001", "$(id)", "1" * 1_000_000, None, 1001, b"1001", ["1001"], {"id": "1001"},
]  # fmt: skip


@pytest.mark.parametrize("moduleid", BAD_IDS, ids=lambda moduleid: repr(moduleid)[:20])
def test_an_odd_id_is_no_module(registry: Registry, folder: Path, moduleid: Any) -> None:
    write(folder, GOOD, "1001")
    with pytest.raises(UnknownModule) as caught:
        registry.load(moduleid)
    assert len(str(caught.value)) < 100


def test_an_unknown_id_gets_the_text_of_2014(registry: Registry) -> None:
    with pytest.raises(UnknownModule) as caught:
        registry.load("9999")
    assert str(caught.value) == 'Module "Mid_9999" does not exist, Please add it'


EVENTS: list[str] = []
WATCHING = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if WATCHING and event.split(".")[0] in ("open", "exec", "compile", "import", "subprocess", "os"):
        EVENTS.append(f"{event} {arguments[:1]}")


@settings(max_examples=2000, deadline=None)
@given(moduleid=st.one_of(st.text(), st.from_regex(r"[0-9./;\\ ]{1,12}"), st.from_regex(r"[1-9]\d{3,5}\s*")))
def test_no_id_touches_a_path_unless_it_is_one(pool: ChildPool, moduleid: str) -> None:
    global WATCHING
    registry = Registry(Path("/nonexistent-omserver"), pool)
    EVENTS.clear()
    WATCHING = True
    try:
        with pytest.raises(UnknownModule):
            registry.load(moduleid)
    finally:
        WATCHING = False
    plain = moduleid.isascii() and moduleid.isdigit() and 4 <= len(moduleid) <= 6 and moduleid[0] != "0"
    assert len(EVENTS) == (4 if plain else 0), EVENTS  # the file itself, then one in each engine's folder


sys.addaudithook(watch)


HANGS = '"""Hangs."""\nwhile True:\n    pass\n'


def test_files_that_hang_hold_up_the_list_once_and_harm_no_other(folder: Path, pool: ChildPool) -> None:
    (folder / "Mid_1001.py").write_text(GOOD)
    for number in range(5):
        (folder / f"Mid_200{number}.py").write_text(HANGS + "#" * number)
    registry = Registry(folder, pool)
    began = time.monotonic()
    found = {module.id: module for module in registry.list()}
    assert time.monotonic() - began < registry_module.LIST_LIMIT + 1
    assert found["1001"].broken is None
    assert "looked at yet" in found["2004"].broken.reason
    began = time.monotonic()
    assert registry.load("1001").broken is None
    assert time.monotonic() - began < 1


def test_what_hung_once_is_not_asked_again_for_a_while(folder: Path) -> None:
    (folder / "Mid_2000.py").write_text(HANGS)
    with ChildPool(1, ChildLimits(describe_seconds=2)) as quick:
        registry = Registry(folder, quick)
        assert registry.load("2000").broken
        began = time.monotonic()
        assert "more than 2 s" in registry.load("2000").broken.reason
        assert time.monotonic() - began < 0.5
