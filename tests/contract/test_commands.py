"""What goes to a host arrives as it is, and what it says comes back as it was said."""

from __future__ import annotations

import pytest

from omserver_master.backends import Backend
from omserver_master.contract.work import Put, Run, Script
from tests.nasty import NASTY_WORDS

from .dispatching import Under, run, run_one
from .promises import NO_COMMANDS, left_out
from .rig import Rig

ALL_BYTES = bytes(range(256))
TEXT = "中文 日本語 😀 e\u0301 \u202e \ufeff ß\n"


@left_out(NO_COMMANDS)
@pytest.mark.parametrize(
    "printed",
    [
        b"",
        b"\n",
        b"\n\n\n",
        b"no newline at the end",
        b"\r\n\r\r\n",
        TEXT.encode(),
        ALL_BYTES,
        b"\x00\xff\xfe\x80" * 2000,
        b"<script>alert(1)</script>\x1b[31mred\x1b[0m",
        b"om1 0 0 1.0 2.0 plain 0 0 Zm9yZ2Vk - end\n",
        b'{"failed": true, "rc": 9}\n',
    ],
    ids=[
        "nothing", "newline", "newlines", "unended", "crlf", "unicode", "all", "invalid",
        "terminal", "envelope", "json",
    ],
)  # fmt: skip
def test_any_bytes_go_in_and_both_streams_come_back(rig: Rig, backend: Backend, printed: bytes) -> None:
    work = (
        Run("cat >&2; printf %s 'x'", stdin=printed) if not printed else Run("tee /dev/stderr", stdin=printed)
    )
    for answer in run(backend, work, rig.hosts).values():
        assert (answer.rc, answer.stderr, answer.stdout) == (0, printed, printed or b"x"), answer


@left_out(NO_COMMANDS)
def test_five_megabytes_come_back_byte_for_byte_where_they_are_asked_for(
    rig: Rig, backend: Backend, place: str
) -> None:
    work = Run(f"head -c 5000000 /dev/urandom >{place}; cat {place}", output=6 * 1024 * 1024)
    for host in (rig.hosts[0], rig.hosts[-1]):
        answer = run_one(backend, work, host, seconds=90)
        assert (answer.rc, len(answer.stdout), answer.stdout_cut) == (0, 5000000, 0)
        assert answer.stdout == rig.read(host, place)


@left_out(NO_COMMANDS)
def test_of_five_megabytes_the_first_are_kept_and_the_others_counted(
    rig: Rig, backend: Backend, place: str
) -> None:
    host = rig.hosts[0]
    work = Run(f"head -c 5000000 /dev/urandom >{place}; cat {place}; cat {place} >&2; exit 3", output=1000)
    answer = run_one(backend, work, host)
    content = rig.read(host, place)
    assert (answer.rc, answer.stdout, answer.stdout_cut) == (3, content[:1000], 4999000)
    assert (answer.stderr, answer.stderr_cut) == (content[:1000], 4999000)


@left_out(NO_COMMANDS)
def test_variables_arrive_and_nothing_else_of_ours_does(rig: Rig, backend: Backend) -> None:
    values = {f"OM_{number}": word for number, word in enumerate(NASTY_WORDS[:120])}
    show = "".join(f'printf "%s\\0" "$OM_{number}"; ' for number in range(len(values)))
    answer = run_one(backend, Run(show, env=values), rig.hosts[0])
    assert answer.stdout == b"".join(word.encode() + b"\0" for word in values.values())
    seen = run_one(backend, Run("env", env={"OM_A": "1"}), rig.hosts[0]).text.split()
    assert "OM_A=1" in seen
    assert not [word for word in seen if word.startswith(("om_", "ANSIBLE", "SALT", "PYTHON", "SSH_"))]


@left_out(NO_COMMANDS)
@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
def test_a_script_runs_as_it_is(rig: Rig, backend: Backend, place: str, which: int) -> None:
    host = rig.hosts[which]
    there = run_one(backend, Run("command -v perl python3; command -v bash; :"), host).text
    here_document = "cat <<'EOF'\n$HOME `id` \\ \"x\" 'y'\n{{ a }} {% b %}\nEOF\nprintf '%s|' \"$@\""
    cases = {
        "text": (
            Script(here_document, ["a b", "", "'"]),
            "$HOME `id` \\ \"x\" 'y'\n{{ a }} {% b %}\na b||'|",
        ),
        "unended": (Script("#!/bin/sh\nprintf '%s' 'no newline: '\"$1\"", ["é"]), "no newline: é"),
        "crlf": (Script("#!/bin/sh\nprintf '%s' 'a\r\nb\r'"), "a\r\nb\r"),
        "word": (Script("#!/bin/sh -e\nfalse\necho never"), ""),
        "itself": (Script(f'cat "$0" >{place}; echo {TEXT}'), TEXT),
        "stdin": (
            Script('read -r line; echo "<$line> $OM_A"', stdin="in\nmore", env={"OM_A": "$1"}),
            "<in> $1\n",
        ),
    }
    if "python3" in there:
        python = "#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:], sys.stdin.read())"
        cases["python"] = Script(python, ["-x", "a b"], stdin="in"), "['-x', 'a b'] in\n"
    if "perl" in there:
        cases["perl"] = Script('#!/usr/bin/perl -w\nprint "@ARGV\\n"; exit 9;', ["p", "q"]), "p q\n"
    dispatches = {name: Under(backend, script, [host]) for name, (script, _) in cases.items()}
    answers = {name: dispatch.wait()[host.id] for name, dispatch in dispatches.items()}
    assert {name: answer.text for name, answer in answers.items()} == {
        name: said for name, (_, said) in cases.items()
    }
    codes = {"word": 1, "perl": 9}
    assert {name: answer.rc for name, answer in answers.items()} == {
        name: codes.get(name, 0) for name in cases
    }
    assert rig.read(host, place) == cases["itself"][0].text.encode()


@left_out(NO_COMMANDS)
@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
def test_a_file_is_put_whole_with_its_mode_and_in_one_move(
    rig: Rig, backend: Backend, place: str, which: int
) -> None:
    host, path = rig.hosts[which], f"{place}/'in' $(quotes) é"
    run_one(backend, Run(["mkdir", place]), host)
    first = ALL_BYTES * 2000
    assert run_one(backend, Put(path, first, 0o640), host).ok
    assert rig.read(host, path) == first
    look = Run(["stat", "-c", "%a %i", path])
    mode, number = run_one(backend, look, host).text.split()
    assert mode == "640"
    # Who has the old file open goes on reading it: the new one takes its place, and is not written into it.
    hold = Under(
        backend, Run(["sh", "-c", f'exec 9<"$1"; touch {place}.held; sleep 2; cat <&9', "sh", path]), [host]
    )
    while rig.read(host, f"{place}.held") is None:
        assert not hold.answered, hold.answers
    assert run_one(backend, Put(path, b"second", 0o4755), host).ok
    assert rig.read(host, path) == b"second"
    mode, other = run_one(backend, look, host).text.split()
    assert (mode, number == other) == ("4755", False)
    assert hold.wait()[host.id].stdout == first[: 512 * 1024]
    assert run_one(backend, Put(path, b""), host).ok
    assert rig.read(host, path) == b""
    left = run_one(backend, Run(["ls", "-A", place]), host).text
    assert left == path.rpartition("/")[2] + "\n"


@left_out(NO_COMMANDS)
def test_a_file_that_cannot_be_put_fails_with_the_reason(rig: Rig, backend: Backend, place: str) -> None:
    answer = run_one(backend, Put(f"{place}/missing/file", b"x"), rig.hosts[0])
    assert answer.rc != 0
    assert "No such file" in answer.errors
    answer = run_one(backend, Put("/tmp", b"x"), rig.hosts[0])
    assert answer.rc != 0
    assert "directory" in answer.errors


@left_out(NO_COMMANDS)
def test_rubbish_instead_of_an_answer_is_unknown(rig: Rig, backend: Backend) -> None:
    """The work harms the shell that it runs under, so that what this says is no answer of ours."""
    hosts = rig.hosts[:1]
    dispatches = [
        Under(backend, Run("echo om1 rubbish >/proc/$PPID/fd/1; exit 0"), hosts),
        Under(backend, Run("printf '\\377\\0{\"rc\": 0}' >/proc/$PPID/fd/1"), hosts),
        Under(backend, Run("kill -KILL $PPID; sleep 1"), hosts),
        Under(backend, Run("head -c 3000000 /dev/zero | tr '\\0' x >/proc/$PPID/fd/1", output=1000), hosts),
    ]
    answers = [dispatch.wait()[hosts[0].id] for dispatch in dispatches]
    assert [answer.state for answer in answers] == ["unknown"] * len(dispatches)
    assert run_one(backend, Run("echo well"), hosts[0]).stdout == b"well\n"
