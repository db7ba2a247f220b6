"""The base classes of modules: what authors may write, and what they are told when they may not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from omserver_client.errors import InvalidParam
from omserver_master import (
    Bool,
    Choices,
    Failed,
    Int,
    Lines,
    Module,
    Ok,
    Put,
    Run,
    Script,
    ShellModule,
    Skipped,
    Text,
)
from omserver_master.contract.hosts import Host, read_hosts, write_hosts
from omserver_master.contract.jobview import HostView, JobView
from omserver_master.contract.mistakes import ModuleMistake
from omserver_master.contract.quoting import UnsafeText, check_author_text
from omserver_master.contract.work import DEFAULT_OUTPUT, Answer, work_from_wire
from omserver_master.registry.driving import HostSteps

HOST = Host("web-01", "192.0.2.1", os_family="debian")


def shell_module(**attributes: Any) -> Any:
    return type("Modulehandle", (ShellModule,), attributes)


def first_work(handle: Any, params: Any = (), host: Host = HOST) -> Any:
    return next(handle("2001", [host], params).steps(host))


def end_of(handle: Any, *answers: Answer, params: Any = ()) -> Any:
    steps = HostSteps(handle("2001", [HOST], params), HOST, "Mid_2001.py")
    steps.advance(None)
    for answer in answers:
        steps.advance(answer)
    return steps.end


def done(rc: int = 0, stdout: str = "", stderr: str = "") -> Answer:
    return Answer("done", rc, stdout.encode(), stderr.encode())


# Commands


def test_the_smallest_module_has_four_lines() -> None:
    assert first_work(shell_module(command="uptime")).shell == "uptime"


def test_text_goes_out_as_it_is_and_parameters_are_quoted_words() -> None:
    word, lines, flag = Text(pattern=".*"), Lines(pattern=".*"), Bool(yes="--all", no="")
    handle = shell_module(
        word=word, lines=lines, flag=flag, command=("echo $HOME", word, flag, lines, "| cat")
    )
    work = first_work(handle, ["it's $(id)", ["a b", "c"], "no"])
    assert work.shell == "echo $HOME 'it'\"'\"'s $(id)' 'a b' c | cat"


def test_choices_become_several_words() -> None:
    names = Choices("a", "b")
    assert first_work(shell_module(names=names, command=("ls", names)), ["a,b"]).shell == "ls a b"


@pytest.mark.parametrize(
    ("family", "text"), [("debian", "apt list"), ("REDHAT", "dnf list"), ("suse", "other")]
)
def test_a_command_may_depend_on_the_family_of_systems(family: str, text: str) -> None:
    handle = shell_module(command={"debian": "apt list", "redhat": "dnf list", "default": "other"})
    assert first_work(handle, host=Host("a", os_family=family)).shell == text


@pytest.mark.parametrize("family", ["suse", ""])
def test_a_host_of_another_family_is_skipped_with_the_reason(family: str) -> None:
    handle = shell_module(command={"debian": "apt list"})
    host = Host("a", os_family=family)
    steps = HostSteps(handle("2001", [host], []), host, "")
    assert steps.advance(None) is None
    assert steps.end["state"] == "skipped"
    assert "only for: debian" in steps.end["reason"]


def test_a_script_gets_its_parameters_as_variables() -> None:
    handle = shell_module(
        n=Int(default=3, maximum=9), names=Choices("a", "b"), script="#!/bin/sh\necho $OM_N\n"
    )
    work = first_work(handle, {"names": ["a", "b"]})
    assert work.env == {"OM_N": "3", "OM_NAMES": "a\nb"}
    assert work.text == "#!/bin/sh\necho $OM_N\n"


def test_attributes_reach_the_work() -> None:
    body = Text(pattern=".*")
    handle = shell_module(
        body=body, stdin=body, env={"LANG": "C", "BODY": body}, timeout=5, output=100, command="cat"
    )
    work = first_work(handle, ["hello"])
    assert (work.stdin, work.env, work.timeout, work.output) == (
        b"hello",
        {"LANG": "C", "BODY": "hello"},
        5,
        100,
    )


UNSAFE = [
    ("echo '", "single quotes"),
    ('echo "', "double quotes"),
    ("echo `cat", "backticks"),
    ("echo # about", "a comment"),
    ("cat <<EOF\n", "here-document"),
    ("echo $((", "arithmetic"),
    ("echo ${x:-", "inside"),
    ("echo \\", "backslash"),
    ("sh -c", "as code"),
    ("sudo -u bob bash -lc", "as code"),
    ("su - bob -c", "as code"),
    ("true; eval", "as code"),
]


@pytest.mark.parametrize(("text", "reason"), UNSAFE)
def test_text_after_which_quoting_does_not_protect_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnsafeText, match=reason):
        check_author_text(text)
    word = Text()
    with pytest.raises(ModuleMistake, match=reason):
        shell_module(word=word, command=(text, word))
    with pytest.raises(ValueError, match=reason):
        Run(text, "word")
    assert first_work(shell_module(command=text)).shell == text


@pytest.mark.parametrize(
    "text",
    ["tail -n", "awk '{print $1}'", 'echo "a b"', "echo `date`", "echo it\\'s", "cat /x#y",
     "x=$((1+2)); echo", "# about\necho", "echo ${HOME}", "cut -c", "ls | grep -c", "echo sh -c;"],
)  # fmt: skip
def test_text_after_which_a_word_is_a_word_is_accepted(text: str) -> None:
    check_author_text(text)


# Mistakes of authors


@pytest.mark.parametrize(
    ("attribute", "value", "allowed"),
    [
        ("repeat", "sometimes", '"read_only", "idempotent" or "once"'),
        ("timeout", 0, "seconds"),
        ("timeout", True, "seconds"),
        ("timeout", "60", "seconds"),
        ("ok", (0, 256), "return codes"),
        ("ok", (), "return codes"),
        ("output", 0, "bytes"),
        ("most_hosts", 0, "whole number"),
        ("risk", "extreme", '"low", "medium" or "high"'),
        ("title_zh", 5, "text"),
        ("stdin", 5, "text, bytes or a parameter"),
        ("env", {"A B": "x"}, "dict"),
        ("env", {"A": 5}, "dict"),
        ("engines", "salt", "tuple"),
        ("engines", ("fabric",), "salt, salt-api"),
        ("command", ["ls"], "text"),
        ("command", (), "text"),
        ("command", ("ls", 5), "neither text nor a parameter"),
        ("command", (Text(), "ls"), "text first"),
        ("command", ("ls", Text()), "attribute of the class"),
        ("script", 5, "name of a file"),
        ("script", "missing.sh", "no file 'missing.sh'"),
        ("script", "../../../etc/passwd", "no file"),
        ("run_as", "bob", "not known to this version"),
        ("lock", "a b", "a name of letters"),
        ("lock", ("host", ""), "a name of letters"),
        ("per_host", True, "not known to this version"),
    ],
)
def test_a_wrong_attribute_is_named_with_what_is_allowed(attribute: str, value: object, allowed: str) -> None:
    with pytest.raises(ModuleMistake, match=f"^{attribute}: ") as caught:
        shell_module(**{attribute: value})
    assert allowed in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "timeout",
        "hosts",
        "run",
        "command",
        "steps",
        "env",
        "run_as",
        "lock",
        "Lines",
        "_x",
        "x" * 50,
        "zeilé",
    ],
)
def test_a_parameter_cannot_have_a_reserved_or_odd_name(name: str) -> None:
    with pytest.raises(ModuleMistake, match=f"^{name}: "):
        shell_module(**{name: Text(default="x")})


def test_a_command_and_a_script_are_one_too_many() -> None:
    with pytest.raises(ModuleMistake, match="not both"):
        shell_module(command="ls", script="#!/bin/sh\n")


def test_a_module_needs_something_to_run() -> None:
    with pytest.raises(ModuleMistake, match="command: is missing"):
        shell_module().check_complete()
    with pytest.raises(ModuleMistake, match="steps: write"):
        type("Modulehandle", (Module,), {}).check_complete()


def test_parameters_are_inherited_in_order_and_may_be_replaced() -> None:
    base = shell_module(a=Int(default=1, maximum=9), b=Int(default=2, maximum=9), command="ls")
    handle = type("Modulehandle", (base,), {"c": Int(default=3, maximum=9), "a": Int(default=4, maximum=9)})
    assert handle("2001", [], []).values == {"a": 4, "b": 2, "c": 3}


# The 2014 contract


def test_the_constructor_takes_the_three_texts_of_2014() -> None:
    handle = shell_module(n=Int(maximum=9), command="ls")
    module = handle("2001", "192.0.2.1*web-01,192.0.2.2*web-02", ["5"])
    assert [(host.name, host.ip) for host in module.hosts] == [
        ("web-01", "192.0.2.1"),
        ("web-02", "192.0.2.2"),
    ]
    assert module.n == 5
    assert write_hosts(module.hosts) == "192.0.2.1*web-01,192.0.2.2*web-02"
    assert read_hosts("web-03")[0].name == "web-03"


def test_a_bad_parameter_is_refused_by_the_constructor() -> None:
    with pytest.raises(InvalidParam):
        shell_module(n=Int(maximum=9), command="ls")("2001", "", ["10"])


@pytest.mark.parametrize("name", ["../../setup.cfg", "/etc/passwd", "missing", "."])
def test_a_module_reads_only_files_that_are_there_for_it(name: str) -> None:
    handle = shell_module(command="ls", __module__=__name__)
    with pytest.raises(FileNotFoundError, match="in files/ beside the module"):
        handle("2001", "", []).file(name)


def test_run_says_that_it_needs_a_job() -> None:
    with pytest.raises(RuntimeError, match="inside a job"):
        shell_module(command="ls")("2001", "", []).run()


# Ends


def test_a_good_return_code_is_ok_and_another_one_fails_with_the_first_line_of_stderr() -> None:
    handle = shell_module(command="grep x", ok=(0, 1))
    assert end_of(handle, done(1))["state"] == "ok"
    assert end_of(handle, done(2, stderr="\nno such file\nmore")) == {
        "state": "failed",
        "reason": "no such file",
        "text": "",
    }
    assert end_of(handle, done(2))["reason"] == "The return code is 2."


@pytest.mark.parametrize("state", ["unreachable", "timed_out", "unknown", "not_started"])
def test_an_answer_that_is_none_ends_the_host_as_it_is(state: str) -> None:
    cleaned = []

    class Modulehandle(Module):
        def steps(self, host: Host) -> Any:
            try:
                yield Run("true")
                cleaned.append("went on")
            finally:
                cleaned.append("cleaned")

    assert end_of(Modulehandle, Answer(state, reason="why"))["state"] == state
    assert cleaned == ["cleaned"]


@pytest.mark.parametrize(
    ("value", "end"),
    [
        (Ok("all well"), ("ok", "", "all well")),
        (Failed("no disk"), ("failed", "no disk", "")),
        (Skipped("no nginx"), ("skipped", "no nginx", "")),
        (None, ("ok", "", "")),
    ],
)
def test_steps_say_how_it_ended(value: object, end: tuple[str, str, str]) -> None:
    handle = type("Modulehandle", (Module,), {"steps": lambda self, host: value})
    found = end_of(handle)
    assert (found["state"], found["reason"], found["text"]) == end


@pytest.mark.parametrize("wrong", ["ls", 5, ["ls"], Ok()])
def test_steps_may_only_yield_work(wrong: object) -> None:
    class Modulehandle(Module):
        def steps(self, host: Host) -> Any:
            yield wrong

    end = end_of(Modulehandle)
    assert end["state"] == "crashed"
    assert "not Run, Script, Put, State or Playbook" in end["reason"]


def test_a_crash_is_one_host_s_with_the_line() -> None:
    class Modulehandle(Module):
        def steps(self, host: Host) -> Any:
            yield Run("true")
            raise ValueError("boom\nmore")

    steps = HostSteps(Modulehandle("2001", [HOST], []), HOST, __file__)
    steps.advance(None)
    assert steps.advance(done()) is None
    assert steps.end["reason"] == "ValueError: boom"
    assert isinstance(steps.end["line"], int)


# Work and answers


WORK = [
    Run("systemctl restart", "a b", ["c", 5]),
    Run(["ls", "-l"], env={"A": "b"}, stdin=b"\xff\x00", timeout=3, output=7),
    Script("echo", ["a"], env={"A": "b"}),
    Put("/etc/motd", b"\xff\x00", 0o600),
]


@pytest.mark.parametrize("work", WORK)
def test_work_survives_the_wire(work: Any) -> None:
    assert work_from_wire(json.loads(json.dumps(work.to_wire()))) == work
    assert hash(work) == hash(work_from_wire(work.to_wire()))


def test_an_answer_survives_the_wire() -> None:
    answer = Answer("done", 3, b"\xff", b"e", 1, 2, 0.5, "why", late=True)
    assert Answer.from_wire(json.loads(json.dumps(answer.to_wire()))) == answer
    assert answer.text == "�"
    assert not answer.ok


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Run(), "one of them"),
        (lambda: Run("ls", argv=["ls"]), "one of them"),
        (lambda: Run(""), "not empty"),
        (lambda: Run([]), "not empty"),
        (lambda: Run("ls", "a\0b"), "NUL"),
        (lambda: Run(["ls", "a\0"]), "NUL"),
        (lambda: Run(["ls", 5]), "list of text"),
        (lambda: Run("ls", env={"A": "\0"}), "NUL"),
        (lambda: Put("etc/motd", ""), "absolute path"),
        (lambda: Put("/etc/../motd", ""), "absolute path"),
        (lambda: Put("/etc/", ""), "absolute path"),
        (lambda: Put("/etc/motd", "", 0o100000), "permission bits"),
        (lambda: Answer("perhaps"), "no state"),
        (lambda: work_from_wire({"kind": "rm"}), "no work"),
        (lambda: work_from_wire({}), "no work"),
        (lambda: Answer.from_wire({"state": "done", "more": 1}), "no answer"),
    ],
)
def test_impossible_work_is_refused(make: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make()


def test_a_script_without_an_interpreter_is_for_sh() -> None:
    assert Script("echo").text == "#!/bin/sh\necho"
    assert Script("#!/usr/bin/python3\n").text == "#!/usr/bin/python3\n"


def test_what_a_step_does_not_say_the_module_says() -> None:
    class Modulehandle(Module):
        timeout = 7
        output = 99
        env = {"A": "module", "B": "module"}  # noqa: RUF012

        def steps(self, host: Host) -> Any:
            yield Run("ls", env={"A": "step"})

    steps = HostSteps(Modulehandle("2001", [HOST], []), HOST, "")
    work = steps.advance(None)
    assert (work["timeout"], work["output"], work["env"]) == (7, 99, {"A": "step", "B": "module"})
    assert DEFAULT_OUTPUT == 512 * 1024


def test_after_sees_how_each_host_ended() -> None:
    view = JobView((HostView("a", "", "ok"), HostView("b", "", "failed", "why"), HostView("c", "", "ok")))
    assert view.counts == {"ok": 2, "failed": 1}
    assert [host.name for host in view.with_state("ok")] == ["a", "c"]
    assert [host.reason for host in view] == ["", "why", ""]
