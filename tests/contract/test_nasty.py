"""Parameters are data: a thousand words that all sorts of programs like to misread arrive byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from omserver_master.backends import Backend, Target
from omserver_master.contract.work import Put, Run, Script
from tests.nasty import canary_words, nasty_words

from .dispatching import Under, run, run_one
from .promises import NO_COMMANDS, NO_NAMES, left_out
from .rig import Rig

#: How many words go out in one dispatch.
AT_ONCE = 400


@pytest.fixture
def canary(rig: Rig, place: str) -> Iterator[str]:
    """The path of a file that nobody makes, neither on the hosts nor here."""
    yield place
    assert {host.name: rig.read(host, place) for host in rig.hosts} == {host.name: None for host in rig.hosts}
    assert not Path(place).exists()


def words_for(canary: str) -> list[str]:
    words = [*canary_words(canary), *nasty_words(1000)]
    assert len(set(words)) >= 1100
    return words


def as_bytes(words: list[str]) -> bytes:
    return b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words)


@left_out(NO_COMMANDS)
@pytest.mark.parametrize("form", ["argv", "shell", "script", "env"])
def test_a_thousand_nasty_words_arrive_byte_for_byte(
    rig: Rig, backend: Backend, canary: str, form: str
) -> None:
    words = words_for(canary)
    parts = [words[start : start + AT_ONCE] for start in range(0, len(words), AT_ONCE)]
    make = {
        "argv": lambda part: Run(["printf", "%s\\0", *part]),
        "shell": lambda part: Run("printf '%s\\0'", *part),
        "script": lambda part: Script("printf '%s\\0' \"$@\"", part),
        "env": lambda part: Script(
            "".join(f'printf "%s\\0" "$OM_{number}"\n' for number in range(len(part))),
            env={f"OM_{number}": word for number, word in enumerate(part)},
        ),
    }[form]
    dispatches = [Under(backend, make(part), rig.hosts) for part in parts]
    for part, dispatch in zip(parts, dispatches, strict=True):
        for answer in dispatch.wait().values():
            assert answer.stdout == as_bytes(part), (answer.state, answer.reason, answer.errors[:500])


@left_out(NO_COMMANDS)
def test_nasty_paths_texts_and_inputs_are_data_too(rig: Rig, backend: Backend, canary: str) -> None:
    host = rig.hosts[0]
    words = [word for word in canary_words(canary) if "/" not in word.replace(canary, "")][:80:10]
    names = [f"{canary}-" + word.replace("/", "_") for word in words]
    content = "\n".join(canary_words(canary)).encode("utf-8", "surrogateescape")
    dispatches = [Under(backend, Put(name, content), [host]) for name in names]
    assert all(dispatch.wait()[host.id].ok for dispatch in dispatches)
    assert {name: rig.read(host, name) == content for name in names} == dict.fromkeys(names, True)
    assert run_one(backend, Run(["cat"], stdin=content), host).stdout == content
    said = run_one(
        backend, Script("cat <<'OM_END'\n" + content.decode("utf-8", "replace") + "\nOM_END"), host
    )
    assert said.stdout == content.decode("utf-8", "replace").encode() + b"\n"


def test_a_nul_is_refused_before_anything_is_sent() -> None:
    for make in (
        lambda: Run(["a\0b"]),
        lambda: Run("echo", "a\0b"),
        lambda: Run("a\0b"),
        lambda: Run("env", env={"A": "\0"}),
        lambda: Run("env", env={"A\0": ""}),
        lambda: Script("a\0b"),
        lambda: Script("a", ["\0"]),
        lambda: Put("/tmp/a\0b", b""),
    ):
        with pytest.raises(ValueError, match="NUL"):
            make()


@left_out(NO_COMMANDS)
def test_a_variable_that_has_no_variables_name_is_not_started(
    rig: Rig, backend: Backend, canary: str
) -> None:
    for name in ("a b", "", "1a", "a-b", "é", f"x;touch {canary};", "a=b"):
        answers = run(backend, Run("true", env={name: "1"}), rig.hosts)
        assert {answer.state for answer in answers.values()} == {"not_started"}


@left_out(NO_NAMES)
def test_a_hosts_name_is_a_name_and_never_a_pattern_an_option_or_a_command(
    rig: Rig, backend: Backend, canary: str
) -> None:
    known = rig.hosts[0].remote_id or rig.hosts[0].name
    names = [
        "*",
        "all",
        "a*",
        f"{known},{rig.hosts[1].remote_id}",
        f"~{known[:1]}.*",
        f"E@{known[:1]}.*",
        "!x",
    ]
    names += ["all:!none", "-v", "..", "/", f"{known}[0]", "a b", f"{known}\n", *canary_words(canary)[:60:3]]
    hosts = [Target(f"nasty-{number}", name, name) for number, name in enumerate(names)]
    touching = Under(backend, Run(f"touch {canary}"), hosts, seconds=10)
    both = run(backend, rig.who, [hosts[0], rig.hosts[0]], seconds=10)
    assert both[rig.hosts[0].id].stdout.strip() == rig.who_is(rig.hosts[0])
    assert both[hosts[0].id].state != "done"
    states = {answer.state for answer in touching.wait().values()}
    assert states <= {"unreachable", "not_started", "unknown"}
