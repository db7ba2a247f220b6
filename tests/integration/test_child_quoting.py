"""Parameters on their way to a real shell: every value arrives byte for byte, and nothing in it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omserver_client.errors import InvalidParam
from omserver_master import Choices, Lines, Run, Script, ShellModule, Text
from omserver_master.contract.hosts import Host

SHELLS = [["/bin/sh"], ["dash"], ["bash"], ["busybox", "sh"]]

NASTY = [
    "'", '"', "\\", "`", "$", "!", "*", "?", "[a]", "{a,b}", "~", "#", ";", "&", "|", "<", ">", "(", ")", " ",
    "\t", "it's", '"quoted"', "a b  c", "$(touch canary)", "`touch canary`", "; touch canary",
    "| touch canary", "&& touch canary",
    "'; touch canary; '", '"; touch canary; "', "\\'; touch canary; \\'", "${IFS}",
    "$IFS$9", "$((1+1))", "%s%n", "a=b", "--", "- x", "/*", "\\n", "\\0", "'\\''", "''", "@@", "行数", "é",
    "\u2028", "😀", "<(touch canary)", "$'touch canary'", "a\\", "\\\\", "'\"'\"'", "x" * 4000,
]  # fmt: skip

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).filter(
    lambda t: t[0] != "-"
)


class Modulehandle(ShellModule):
    """Prints its parameters, each ended by a NUL."""

    word = Text(pattern=".*", max_length=4096)
    lines = Lines(pattern=".*", max_length=4096)
    names = Choices("a", "b", default=["b"])
    command = "printf '%s\\0'", word, lines, names


def work_of(word: str, lines: list[str]) -> Any:
    module = Modulehandle("2001", [Host("web-01")], {"word": word, "lines": lines})
    return next(module.steps(Host("web-01")))


def said(shell: list[str], text: str, folder: Path, env: dict[str, str] | None = None) -> list[str]:
    """What the shell printed, split at NULs; fails if anything else came of it."""
    variables = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **(env or {})}
    answer = subprocess.run([*shell, "-c", text], capture_output=True, cwd=folder, env=variables, timeout=20)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == b""
    assert list(folder.iterdir()) == []
    return answer.stdout.decode().split("\0")[:-1]


@pytest.fixture(params=SHELLS, ids=lambda shell: " ".join(shell))
def shell(request: pytest.FixtureRequest) -> list[str]:
    if not shutil.which(request.param[0]):
        pytest.skip(f"{request.param[0]} is not installed")
    return request.param


def test_every_nasty_value_arrives_byte_for_byte_in_every_shell(shell: list[str], tmp_path: Path) -> None:
    for word in NASTY:
        if word.startswith("-"):
            with pytest.raises(InvalidParam):
                work_of(word, ["x"])
        else:
            assert said(shell, work_of(word, [word, "x"]).shell, tmp_path) == [word, word, "x", "b"]


def test_every_nasty_value_arrives_through_run_in_steps(shell: list[str], tmp_path: Path) -> None:
    work = Run("printf '%s\\0'", *NASTY)
    assert work.shell is not None
    assert said(shell, work.shell, tmp_path) == NASTY


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(TEXT, min_size=1, max_size=30))
def test_any_text_arrives_byte_for_byte(tmp_path: Path, words: list[str]) -> None:
    assert said(["/bin/sh"], work_of(words[0], words).shell, tmp_path) == [words[0], *words, "b"]


def test_a_script_gets_every_value_as_a_variable_and_nothing_is_pasted(tmp_path: Path) -> None:
    handle = type(
        "Modulehandle",
        (ShellModule,),
        {"word": Text(pattern=".*", max_length=4096), "script": '#!/bin/sh\nprintf "%s\\0" "$OM_WORD"\n'},
    )
    texts = set()
    for word in (word for word in NASTY if not word.startswith("-")):
        work: Script = next(handle("2001", [], [word]).steps(Host("web-01")))
        texts.add(work.text)
        assert said(["/bin/sh"], work.text, tmp_path, dict(work.env)) == [word]
    assert len(texts) == 1


@pytest.mark.parametrize("word", [word for word in NASTY if set(word) & set("'\"\\`$!*?[]{}~#;&|<>()\t")])
def test_the_default_pattern_refuses_what_means_something_to_a_shell(word: str) -> None:
    handle = type("Modulehandle", (ShellModule,), {"word": Text(max_length=4096), "command": "true"})
    with pytest.raises(InvalidParam):
        handle("2001", [], [word])
