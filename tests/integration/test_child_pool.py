"""Module code in its child process: it drives hosts, and whatever it does wrong stays there."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from omserver_master.contract.work import Answer
from omserver_master.registry import pool as pool_module
from omserver_master.registry.pool import ChildLimits, ChildPool

Message = dict[str, Any]

HEAD = '"""T."""\nfrom omserver_master import *\n\n'
STEPS = HEAD + "class Modulehandle(Module):\n    def steps(self, host):\n"
#: A module whose steps begin in line 6.
ECHO = HEAD + 'class Modulehandle(ShellModule):\n    word = Text(default="x")\n    command = "echo", word\n'


@pytest.fixture(scope="module")
def pool() -> Iterator[ChildPool]:
    with ChildPool(1, ChildLimits(memory=256 << 20, describe_seconds=2)) as pool:
        yield pool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Mid_2001.py"


def start_order(path: Path, source: str, params: Any = (), hosts: tuple[str, ...] = ("web-01",)) -> Message:
    path.write_text(source, encoding="utf-8")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    listed = [{"id": n, "name": name, "ip": f"192.0.2.{n}", "os": None} for n, name in enumerate(hosts, 1)]
    order = {"do": "start", "path": str(path), "sha256": sha256, "module": "2001"}
    return order | {"params": params, "hosts": listed, "deadline_s": 60}


def good(host: str, work: Message) -> Answer:
    return Answer("done", 0, host.encode())


def drive(
    child: Any, order: Message, answer: Callable[[str, Message], Answer] = good, timeout: float = 5
) -> list[Message]:
    said = []
    child.send(order)
    while not child.done:
        for message in child.receive(timeout):
            said.append(message)
            for item in message.get("items", []):
                found = answer(item["host"], item["work"]).to_wire()
                child.send({"do": "answer", "host": item["host"], "answer": found, "seq": item["seq"]})
    return said


def run(pool: ChildPool, path: Path, source: str, **kwargs: Any) -> list[Message]:
    timeout = kwargs.pop("timeout", 5)
    answer = kwargs.pop("answer", good)
    with pool.child() as child:
        return drive(child, start_order(path, source, **kwargs), answer, timeout)


def processes_with(mark: str) -> list[str]:
    """Command lines that hold *mark*, of processes that are not zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if mark in line:
                found.append(line)
    return found


def wait_until(true: Callable[[], bool], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


# What it is for


def test_a_module_runs_on_all_its_hosts_in_one_message(pool: ChildPool, path: Path) -> None:
    said = run(pool, path, ECHO, params={"word": "a b"}, hosts=("web-01", "web-02"))
    assert [message["say"] for message in said] == ["work", "end", "end", "done"]
    assert [item["host"] for item in said[0]["items"]] == ["web-01", "web-02"]
    assert {item["work"]["shell"] for item in said[0]["items"]} == {"echo 'a b'"}
    assert [message["end"]["state"] for message in said[1:3]] == ["ok", "ok"]


def test_answers_that_come_together_lead_to_one_message(pool: ChildPool, path: Path) -> None:
    source = STEPS + "        a = yield Run('one')\n        yield Run('two')\n"
    said = []
    with pool.child() as child:
        child.send(start_order(path, source, hosts=("a", "b", "c")))
        (first,) = child.receive(5)
        items = [{"host": item["host"], "answer": good("", {}).to_wire()} for item in first["items"]]
        child.send({"do": "answers", "items": items})
        said = list(child.receive(5))
    assert [len(message["items"]) for message in said] == [3]


def test_each_host_goes_its_own_way(pool: ChildPool, path: Path) -> None:
    source = STEPS + (
        "        first = yield Run('first')\n"
        "        if host.name == 'a':\n            return Ok(first.text)\n"
        "        if host.name == 'b':\n            return Skipped('not here')\n"
        "        second = yield Put('/etc/x', 'content')\n"
        "        if host.ip.endswith('.3'):\n            1 / 0\n"
        "        return Failed(f'{first.rc} {second.rc}')\n"
    )
    said = run(pool, path, source, hosts=("a", "b", "c", "d"))
    ends = {message["host"]: message["end"] for message in said if message["say"] == "end"}
    assert (ends["a"]["state"], ends["a"]["text"]) == ("ok", "a")
    assert (ends["b"]["state"], ends["b"]["reason"]) == ("skipped", "not here")
    assert (ends["d"]["state"], ends["d"]["reason"]) == ("failed", "0 0")
    (crash,) = [message for message in said if message["say"] == "crashed"]
    assert (crash["host"], crash["line"]) == ("c", 13)
    assert crash["reason"] == "ZeroDivisionError: division by zero"
    assert said[-1] == {"say": "done"}


def test_an_answer_that_is_late_or_double_changes_nothing(pool: ChildPool, path: Path) -> None:
    source = STEPS + "        yield Run('one')\n        yield Run('two')\n"
    with pool.child() as child:
        child.send(start_order(path, source))
        list(child.receive(5))
        reply = {"do": "answer", "host": "web-01", "answer": good("", {}).to_wire(), "seq": 1}
        for _ in range(3):
            child.send(reply)
        child.send(reply | {"host": "stranger"})
        said = list(child.receive(5))
        assert [message["say"] for message in said] == ["work"]
        assert said[0]["items"][0]["work"]["shell"] == "two"


def test_before_and_after_run_once(pool: ChildPool, path: Path) -> None:
    source = HEAD + (
        "class Modulehandle(Module):\n"
        "    def before(self, hosts):\n        self.seen = len(hosts)\n"
        "    def steps(self, host):\n        yield Run('true')\n"
        "    def after(self, job):\n        return f'{self.seen} {job.counts}'\n"
    )
    said = run(pool, path, source, hosts=("a", "b"))
    assert said[-2:] == [{"say": "note", "text": "2 {'ok': 2}"}, {"say": "done"}]


def test_what_was_said_does_not_wait_for_an_after_that_takes_long(pool: ChildPool, path: Path) -> None:
    source = (
        STEPS + "        yield Run('true')\n    def after(self, job):\n        import time; time.sleep(1)\n"
    )
    with pool.child() as child:
        child.send(start_order(path, source))
        list(child.receive(30))
        child.send({"do": "answer", "host": "web-01", "answer": Answer("done", 0).to_wire()})
        heard = {message["say"]: time.monotonic() for message in child.receive(30)}
    assert heard["done"] - heard["end"] > 0.5


def test_a_crash_in_after_only_adds_a_note(pool: ChildPool, path: Path) -> None:
    source = STEPS + "        yield Run('true')\n    def after(self, job):\n        1 / 0\n"
    said = run(pool, path, source)
    assert [message["say"] for message in said] == ["work", "end", "note", "done"]
    assert said[2]["text"] == "after() failed in line 8: ZeroDivisionError: division by zero"


def test_a_crash_in_before_ends_the_job_before_anything_is_sent(pool: ChildPool, path: Path) -> None:
    source = STEPS + "        yield Run('true')\n    def before(self, hosts):\n        1 / 0\n"
    (only,) = run(pool, path, source)
    assert (only["say"], only["line"], only["reason"]) == (
        "crashed",
        8,
        "ZeroDivisionError: division by zero",
    )


def test_a_module_of_2014_answers_directly(pool: ChildPool, path: Path) -> None:
    source = (
        "from Public_lib import *\n"
        "class Modulehandle:\n"
        "    def __init__(self, moduleid, hosts, sys_param_row):\n"
        "        self.said = f'{moduleid} {target_host(hosts, \"HN\")} {sys_param_row}'\n"
        "    def run(self):\n        return {'WEB-01': self.said}\n"
    )
    said = run(pool, path, source, params=["20"], hosts=("web-01", "web-02"))
    assert [message["say"] for message in said] == ["direct", "done"]
    results = said[0]["results"]
    assert [result["state"] for result in results] == ["ok", "unknown"]
    assert results[0]["stdout"] == "2001 web-01;web-02 ['20']"


def test_the_source_may_come_with_the_order(pool: ChildPool, path: Path) -> None:
    order = start_order(path, ECHO)
    path.write_text("an edit in between")
    with pool.child() as child:
        said = drive(child, order | {"source": base64.b64encode(ECHO.encode()).decode()})
    assert said[-1] == {"say": "done"}


@pytest.mark.parametrize("edit", ["\n", "x"])
def test_a_file_that_changed_after_the_submit_is_refused(pool: ChildPool, path: Path, edit: str) -> None:
    order = start_order(path, ECHO)
    path.write_text(ECHO + edit)
    with pool.child() as child:
        (only,) = drive(child, order)
    assert only["say"] == "broken"
    assert "has changed" in only["reason"]


def test_a_parameter_that_the_module_refuses_is_said(pool: ChildPool, path: Path) -> None:
    (only,) = run(pool, path, ECHO, params={"word": "$(id)"})
    assert only["say"] == "broken"
    assert 'The parameter "word" must match' in only["reason"]


# What goes wrong

HOSTILE = [
    ("        while True: pass\n        yield\n", "ran for more than 1 s"),
    ("        import time; time.sleep(100)\n        yield\n", "ran for more than 1 s"),
    ("        import os; os._exit(3)\n        yield\n", "exit status 3"),
    ("        import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n        yield\n", "SIGSEGV"),
    ("        import ctypes; ctypes.string_at(0)\n        yield\n", "SIGSEGV"),
    (
        "        import os\n        for n in range(3, 64):\n"
        "            try: os.write(n, b'rubbish\\n')\n            except OSError: pass\n        yield\n",
        "wrote something to the channel",
    ),
    ("        import os\n        os.closerange(3, 64)\n        yield Run('x')\n", "process"),
]


@pytest.mark.parametrize(("body", "reason"), HOSTILE)
def test_code_that_hangs_dies_or_talks_rubbish_is_stopped_with_the_reason(
    pool: ChildPool, path: Path, body: str, reason: str
) -> None:
    began = time.monotonic()
    said = run(pool, path, STEPS + body, timeout=1)
    assert said[-1]["say"] == "crashed"
    assert "host" not in said[-1]
    assert reason in said[-1]["reason"]
    assert time.monotonic() - began < 4
    assert run(pool, path, ECHO)[-1] == {"say": "done"}


CONTAINED = [
    ("        x = 'x' * (1 << 30)\n        yield\n", "MemoryError"),
    ("        x = []\n        while True: x.append(bytearray(1 << 20))\n        yield\n", "MemoryError"),
    ("        def f(): f()\n        f()\n        yield\n", "RecursionError"),
    ("        import sys; sys.exit('bye')\n        yield\n", "sys.exit"),
    ("        raise KeyError('x')\n        yield\n", "KeyError"),
    ("        yield 'ls'\n", "not Run, Script, Put, State or Playbook"),
    ("        return 'fine'\n        yield\n", "steps() returned str"),
    ("        yield Run('sh -c', 'x')\n", "run the parameter as code"),
    (
        "        with open('big', 'wb') as f:\n            for _ in range(300): f.write(b'x' * (1 << 20))\n"
        "        yield\n",
        "File too large",
    ),
]


@pytest.mark.parametrize(("body", "reason"), CONTAINED)
def test_code_that_raises_fails_its_host_only(pool: ChildPool, path: Path, body: str, reason: str) -> None:
    source = (
        STEPS + "        if host.name == 'b':\n            yield Run('true')\n            return\n" + body
    )
    said = run(pool, path, source, hosts=("a", "b"))
    (crash,) = [message for message in said if message["say"] == "crashed"]
    assert crash["host"] == "a"
    assert reason in crash["reason"]
    (end,) = [message for message in said if message["say"] == "end"]
    assert (end["host"], end["end"]["state"]) == ("b", "ok")


def test_printing_100_mb_is_drained_and_a_little_of_it_kept(pool: ChildPool, path: Path) -> None:
    source = STEPS + (
        "        print('hello')\n        for _ in range(100): print('x' * 1_000_000)\n"
        "        yield Run('true')\n"
    )
    with pool.child() as child:
        said = drive(child, start_order(path, source), timeout=20)
        assert said[-1] == {"say": "done"}
        assert child.log.startswith("hello\nxxx")
        assert len(child.log) < child.limits.log + 100
        assert re.search(r"\[9\d{7} bytes left out\]", child.log)
        drive(child, start_order(path, ECHO))
        assert child.log == ""


@pytest.mark.parametrize(
    ("ending", "last"), [("yield Run('true')", "done"), ("os._exit(0)\n        yield", "crashed")]
)
def test_what_a_module_left_running_is_killed_however_it_ended(
    pool: ChildPool, path: Path, ending: str, last: str
) -> None:
    mark = f"sleep {time.time_ns() % 10**8 + 10**8}"
    source = STEPS + (
        "        import os, subprocess\n"
        f"        subprocess.Popen('{mark}'.split())\n"
        f"        subprocess.Popen('{mark}'.split(), start_new_session=True)\n"
        f"        subprocess.run(['sh', '-c', 'setsid {mark} & exit'])\n"
        f"        {ending}\n"
    )
    assert run(pool, path, source)[-1]["say"] == last
    assert wait_until(lambda: not processes_with(mark))


def test_a_fork_does_not_speak_twice(pool: ChildPool, path: Path) -> None:
    source = STEPS + "        import os\n        os.fork()\n        yield Run('true')\n"
    said = run(pool, path, source)
    assert [message["say"] for message in said] == ["work", "end", "done"]


def test_nothing_of_a_module_reaches_the_next_one(pool: ChildPool, path: Path, tmp_path: Path) -> None:
    dirty = STEPS + (
        "        import os, sys, signal\n"
        "        os.environ['LEFT'] = 'x'; os.chdir('/'); sys.stdout = None\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.3)\n"
        "        yield Run('true')\n"
    )
    curious = STEPS + (
        "        import os, sys, time\n        time.sleep(0.5)\n        print('printed')\n"
        "        return Ok(f\"{os.environ.get('LEFT')} {os.getcwd()} {'Mid_2002' in sys.modules}\")\n"
    )
    with pool.child() as child:
        drive(child, start_order(tmp_path / "Mid_2002.py", dirty))
        end, _ = drive(child, start_order(path, curious))
        assert re.fullmatch(r"None /\S+/omserver-child-\w+ False", end["end"]["text"])
        assert child.log == "printed\n"


def test_no_setting_and_no_secret_of_ours_reaches_module_code(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMSERVER_DATABASE_URL", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/tmp/omserver-nowhere")
    source = (
        STEPS + "        import os, sys\n        return Ok(f'{dict(os.environ)} {sys.path} {sys.flags}')\n"
    )
    with ChildPool(1) as pool:
        end, _ = run(pool, path, source)
    assert "secret" not in end["end"]["text"]
    assert "nowhere" not in end["end"]["text"]
    assert "isolated=1" in end["end"]["text"]
    assert set(re.findall(r"'(\w+)': ", end["end"]["text"])) <= {
        "PATH",
        "LANG",
        "HOME",
        "TMPDIR",
        "TZ",
        "LC_CTYPE",
    }


def test_no_descriptor_of_ours_reaches_module_code(pool: ChildPool, path: Path) -> None:
    source = (
        STEPS
        + "        import os\n        return Ok(' '.join(sorted(os.listdir('/proc/self/fd'), key=int)))\n"
    )
    end, _ = run(pool, path, source)
    assert len(end["end"]["text"].split()) == 5  # three standard ones, the channel, and the listing itself


def test_a_pattern_that_takes_for_ever_is_found_when_it_is_described(pool: ChildPool, path: Path) -> None:
    source = ECHO.replace('Text(default="x")', 'Text(pattern="(a+)+b")')
    message = pool.describe(path, source.encode())
    assert message["say"] == "crashed"
    assert "ran for more than 2 s" in message["reason"]


# The pool


def test_a_warm_child_is_used_again_until_it_has_done_enough(path: Path) -> None:
    ballast = bytearray(300 << 20)  # the size of the process that starts a child is not the child's
    with ChildPool(1, ChildLimits(jobs=2)) as pool:
        pids = []
        for _ in range(4):
            with pool.child() as child:
                pids.append(child.pid)
                drive(child, start_order(path, ECHO))
        assert len(set(pids)) < 4
        assert max(map(pids.count, pids)) == 2
    assert ballast


@pytest.mark.parametrize(
    "body",
    [
        "        import threading, time\n        threading.Thread(target=time.sleep, args=(30,)).start()\n",
        "        import subprocess\n        subprocess.Popen(['sleep', '30'])\n",
        "        x = b'x' * (300 << 20)\n        del x\n",
    ],
)
def test_a_child_in_which_something_is_left_is_not_used_again(path: Path, body: str) -> None:
    with ChildPool(1) as pool, pool.child() as child:
        drive(child, start_order(path, STEPS + body + "        yield Run('true')\n"))
        assert not child.reusable
    assert not child.alive


def test_a_job_that_is_left_early_takes_its_child_with_it(pool: ChildPool, path: Path) -> None:
    with pool.child() as child:
        child.send(start_order(path, ECHO))
        list(child.receive(5))
        assert not child.done
    assert not child.alive


def test_a_stop_ends_the_module(pool: ChildPool, path: Path) -> None:
    with pool.child() as child:
        child.send(start_order(path, ECHO))
        list(child.receive(5))
        child.send({"do": "stop"})
        assert list(child.receive(5)) == [{"say": "done"}]


def test_a_child_that_died_while_it_was_idle_is_replaced(path: Path) -> None:
    with ChildPool(1) as pool:
        with pool.child() as child:
            drive(child, start_order(path, ECHO))
        for idle in list(pool._idle):
            os.kill(idle.pid, 9)
        time.sleep(0.1)
        assert run(pool, path, ECHO)[-1] == {"say": "done"}


def test_nobody_waits_for_somebody_else_s_child(path: Path, tmp_path: Path) -> None:
    with ChildPool(1) as pool, pool.child() as first, pool.child() as second, pool.child() as third:
        assert len({first.pid, second.pid, third.pid}) == 3


def test_many_threads_get_a_child_each(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            path = tmp_path / f"Mid_20{number:02}.py"
            for _ in range(5):
                assert run(pool, path, ECHO)[-1] == {"say": "done"}
        except BaseException as error:
            failures.append(error)

    with ChildPool(2) as pool:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_close_leaves_no_process_and_no_folder(path: Path) -> None:
    pool = ChildPool(2)
    said: list[Message] = []
    busy = threading.Thread(
        target=lambda: said.extend(
            run(pool, path, STEPS + "        while True: pass\n        yield\n", timeout=60)
        )
    )
    with pool.child() as child:
        drive(child, start_order(path, ECHO))
    busy.start()
    assert wait_until(lambda: bool(pool._busy))
    children = [*pool._idle, *pool._busy]
    pool.close()
    busy.join(5)
    assert said[-1]["say"] == "crashed"
    for child in children:
        assert not Path(f"/proc/{child.pid}").exists()
        assert not Path(child._folder).exists()
    with pytest.raises(RuntimeError, match="closed"), pool.child():
        pass
    pool.close()


def test_children_die_with_the_worker_even_in_the_middle_of_a_loop(path: Path) -> None:
    order = start_order(path, STEPS + "        while True: pass\n        yield\n")
    code = (
        "import os, time\nfrom omserver_master.registry.pool import ChildPool\npool = ChildPool(1)\n"
        f"with pool.child() as child:\n    child.send({order!r})\n    time.sleep(1)\n"
        "    print(child.pid, flush=True)\n    os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).resolve().parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=20
    )
    pid = int(answer.stdout)
    assert wait_until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid))


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_warm_child_answers_within_a_moment(path: Path) -> None:
    with ChildPool(2) as pool:
        run(pool, path, ECHO)
        time.sleep(0.5)
        began = time.monotonic()
        run(pool, path, ECHO)
        assert time.monotonic() - began < 0.25


def at_once(pool: ChildPool, path: Path, number: int) -> set[int]:
    """The processes that did *number* jobs at the same time."""
    with ExitStack() as stack:
        children = [stack.enter_context(pool.child()) for _ in range(number)]
        for child in children:
            drive(child, start_order(path, ECHO), timeout=30)
        return {child.pid for child in children}


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_after_many_were_at_work_at_once_as_many_are_kept_and_none_is_ended(path: Path) -> None:
    with ChildPool(1) as pool:
        first = at_once(pool, path, 4)
        for _ in range(4):
            assert at_once(pool, path, 4) == first, "those that worked before, not the one kept besides"


def test_what_is_kept_after_many_were_at_work_is_ended_in_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_REMEMBERED", 0.5)
    with ChildPool(1) as pool:
        at_once(pool, path, 4)
        wait_for(lambda: len(pool._idle) == 1)
        assert at_once(pool, path, 1)
