"""No call waits for ever: what could is listed here, each with the reason why it may."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("omserver_client", "omserver_func", "omserver_master", "omserver_web")

#: Calls without an argument that wait until something happens.
WAITS = {"wait", "join", "acquire", "get", "communicate", "wait_for", "sigwait", "pause"}
#: Calls that ask a resolver, whatever their arguments.
ASKS = {"getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo", "getfqdn"}
#: Functions of subprocess that wait for the process.
RUNS = {"run", "check_output", "check_call", "call"}

#: ``file:function`` -> why it may wait as long as it takes.
MAY_WAIT = {
    "omserver_func/transport.py:_look_up": "a thread of its own; whoever started it waits with a limit",
    "omserver_func/transport.py:ask": "the same thread",
    "omserver_client/transport.py:_look_up": "a thread of its own; whoever started it waits with a limit",
    "omserver_master/demo/place.py:_check_port": "looks at this machine, once, before anything is started",
    "omserver_master/commands/master.py:_readable": "the master runs until a signal tells it to stop",
    "omserver_master/jobs/code.py:_take_turns": "the run that owns it always closes it",
    "omserver_master/registry/pool.py:close": "joins the thread that starts them, which was told to end",
    "omserver_master/registry/process.py:kill": "the process was sent SIGKILL two lines above",
    "omserver_master/farbell.py:_next": "a thread of its own, woken to ring and to end",
    "omserver_master/crew.py:_keep": "a worker process lives as long as its master",
}


def waits(tree: ast.AST) -> list[tuple[str, int]]:
    """(function, line) of every call in *tree* that has no deadline."""
    found = []
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and _is_endless(call):
                found.append((function.name, call.lineno))
    return found


def _is_endless(call: ast.Call) -> bool:
    assert isinstance(call.func, ast.Attribute)
    name, owner = call.func.attr, call.func.value
    keywords = {keyword.arg for keyword in call.keywords}
    if isinstance(owner, ast.Name) and owner.id == "subprocess":
        return name in RUNS and "timeout" not in keywords
    if name in ASKS:
        return True
    if name == "wait_for":
        return len(call.args) < 2 and "timeout" not in keywords
    if name == "select":
        return len(call.args) < 4
    return name in WAITS and not call.args and not keywords & {"timeout", "block", "blocking"}


def test_every_wait_has_a_deadline_or_a_reason() -> None:
    found = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for function, line in waits(ast.parse(file.read_text(encoding="utf-8"))):
                found[f"{file.relative_to(ROOT)}:{function}"] = line
    assert {place: line for place, line in found.items() if place not in MAY_WAIT} == {}
    assert set(MAY_WAIT) <= set(found), "the list names places that are gone"


@pytest.mark.parametrize(
    "text",
    [
        "event.wait()",
        "thread.join()",
        "queue.get()",
        "subprocess.run(['x'])",
        "condition.wait_for(f)",
        "socket.getaddrinfo('x', 1)",
    ],
)
def test_a_wait_without_a_deadline_is_seen(text: str) -> None:
    assert waits(ast.parse(f"def f():\n    {text}\n"))


@pytest.mark.parametrize(
    "text",
    ["event.wait(1)", "thread.join(timeout=1)", "names.get('x')", "', '.join(names)", "run(['x'])"],
)
def test_what_has_a_deadline_passes(text: str) -> None:
    assert not waits(ast.parse(f"def f():\n    {text}\n"))
