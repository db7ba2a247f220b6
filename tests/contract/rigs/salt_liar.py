"""A hostile minion: with its own key, it sends returns and events in the name of another."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.fleet.fleet import SaltFleet

#: Runs on the liar. It sees the ids of jobs where its own minion notes what it works on.
_LIAR = """
import pathlib, sys, time, warnings
warnings.simplefilter("ignore")
import salt.channel.client, salt.config
conf, victim, forged = sys.argv[1:]
opts = salt.config.minion_config(conf)
opts["master_uri"] = "tcp://{master}:{master_port}".format(**opts)
seen = set()
said = {"stdout": forged, "stderr": "", "retcode": 0, "pid": 1}
print("ready", flush=True)
while True:
    for jid in {one.name for one in pathlib.Path(opts["cachedir"], "proc").glob("2*")} - seen:
        seen.add(jid)
        tag = f"salt/job/{jid}/ret/{victim}"
        data = {"cmd": "_return", "id": victim, "jid": jid, "fun": "cmd.run_all", "return": said}
        data |= {"success": True, "retcode": 0, "fun_args": []}
        event = {"cmd": "_minion_event", "tag": tag, "data": data}
        for lie in (
            {**event, **data, "cmd": "_minion_event"},
            {**event, "pretag": None, "events": [{"tag": tag, "data": data}]},
            {**event, "pretag": None, "events": [{"tag": tag, **data}]},
            {**data, "resource_id": victim},
            {**data, "cmd": "_syndic_return", "load": {}, "return": {victim: said}},
            {"cmd": "_syndic_return", "load": [{**data, "return": {victim: said}}]},
        ):
            try:
                with salt.channel.client.ReqChannel.factory(opts) as channel:
                    channel.send(lie, tries=1, timeout=3)
            except Exception as error:
                print("not sent:", repr(error), flush=True)
            else:
                print("lie", flush=True)
    time.sleep(0.02)
"""


@contextmanager
def lying(fleet: SaltFleet, liar: str, victim: str) -> Iterator[Callable[[], int]]:
    """While open, minion *liar* speaks in the name of *victim* about every job that it sees."""
    word = base64.b64encode(b"FORGED\n").decode()
    forged = f"om1 0 0 1.0 2.0 plain 0 0 {word} - end\n"
    config = str(fleet.folder / "salt" / liar / "minion")
    enter = ["nsenter", "--target", str(fleet.spaces.inside(liar)), "--mount", "--net", "--pid", "--uts"]
    command = [*enter, sys.executable, "-P", "-c", _LIAR, config, victim, forged]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    lies: list[str] = []
    ready = threading.Event()

    def hear() -> None:
        with process.stdout as lines:
            for line in lines:
                if line.startswith("lie"):
                    lies.append(line)
                ready.set()
        ready.set()

    reader = threading.Thread(target=hear, daemon=True)
    reader.start()
    try:
        assert ready.wait(30)
        assert process.poll() is None, "the liar could not even start"
        yield lambda: len(lies)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # what nsenter started, too
        process.wait(10)
        reader.join(10)
