"""One run of Ansible: a fork of the warm process that plays what a job folder says, through ansible-runner.

ansible-runner reads the private data folder, decides the command line and the environment, and notes status
and return code among its artifacts. Only where it would start ``ansible-playbook`` as a new process, we fork
one that has everything loaded. What Ansible prints goes into a file that nobody parses.
"""

from __future__ import annotations

import getpass
import importlib
import os
import re
import shlex
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import stop as stopping
from .folder import JobFolder
from .spool import SpoolWriter

#: The folder with our callback and our action.
PLUGINS = Path(__file__).with_name("plugins")
CALLBACK = "omserver_spool"
#: What ansible-runner and Ansible are asked for by; imported once, before any fork.
LOADED = (
    "ansible.cli.adhoc",
    "ansible.cli.playbook",
    "ansible.executor.playbook_executor",
    "ansible.plugins.action.normal",
    "ansible.plugins.connection.ssh",
    "ansible.plugins.shell.sh",
    "ansible.plugins.strategy.linear",
    "ansible.plugins.inventory.yaml",
    "ansible.plugins.inventory.ini",
    "ansible.executor.module_common",
    "ansible_runner.config.runner",
    "ansible_runner.runner",
)
#: Plug-ins that most runs need.
PRELOADED = {
    "action": ("normal", "omserver_host"),
    "become": ("sudo",),
    "callback": (CALLBACK,),
    "connection": ("ssh", "local"),
    "inventory": ("host_list", "script", "auto", "yaml", "ini", "toml"),
    "shell": ("sh",),
    "strategy": ("linear",),
}
#: How many hosts are spoken to at once where neither we nor ansible.cfg say a number.
FORKS = 50
#: Return codes of Ansible that has come to its own end: all well, some failed, some unreachable, both.
ENDED = (0, 2, 4, 6)
#: Bytes of an error of Ansible's own that are kept.
ERROR = 2000


class Play:
    """What the plug-ins of this run need to know; set before Ansible is started, in its own process."""

    folder: JobFolder
    writer: SpoolWriter
    job: Mapping[str, Any]
    stdin: bytes = b""


def load() -> None:
    """Import what every run needs, and tell Ansible where our plug-ins are."""
    for name in LOADED:
        importlib.import_module(name)
    loader = importlib.import_module("ansible.plugins.loader")
    loader.callback_loader.add_directory(str(PLUGINS / "callback"))
    loader.action_loader.add_directory(str(PLUGINS / "action"))
    list(loader.callback_loader.all(class_only=True))
    _remember_builtin_names()
    # Loading a plug-in reads its documentation, where its options are declared: slow, and always the same.
    for kind, names in PRELOADED.items():
        for name in names:
            getattr(loader, f"{kind}_loader").get(name, class_only=True)


def _remember_builtin_names() -> None:
    """Read Ansible's own table of renamed plug-ins once: 10,000 lines of YAML that every run would read."""
    finder: Any = importlib.import_module("ansible.utils.collection_loader._collection_finder")
    ansible = importlib.import_module("ansible")
    table = Path(str(ansible.__file__)).with_name("config") / "ansible_builtin_runtime.yml"
    parse, raw = finder._meta_yml_to_dict, table.read_bytes()
    known = parse(raw, ("ansible.builtin", "runtime.yml"))

    def remembered(text: bytes | str, content: Any) -> Any:
        return known if text == raw else parse(text, content)

    finder._meta_yml_to_dict = remembered


def run(path: Path) -> None:
    """Play what the folder says, unless somebody saw to it that it is never played."""
    folder = JobFolder(path)
    if not folder.claim():
        return
    lock = folder.hold()
    os.set_inheritable(lock, False)
    Play.folder = folder
    Play.job = folder.job()
    Play.stdin = folder.take("work")
    Play.writer = folder.writer()
    Play.writer.append("begin", pid=os.getpid())
    _mirror(Play.job.get("folder", ""), path / "project")
    status, rc, error = "failed", 254, ""
    try:
        status, rc = _run(folder)
    except Exception as trouble:  # noqa: BLE001 -- whatever it is, the one who waits has to hear of it
        error = f"{type(trouble).__name__}: {trouble}"[:ERROR]
        traceback.print_exc()
    if rc not in ENDED:
        # Ansible did not come to its own end, and may have left processes.
        stopping.stop(folder, spare=os.getpid())
    folder.shred()
    folder.writer().append("end", status=status, rc=rc, error=error)


def _run(folder: JobFolder) -> tuple[str, int]:
    runner: Any = importlib.import_module("ansible_runner.runner")
    config = _configure(folder)
    runner.run_subprocess = lambda command, **rest: _play(folder, config, command, rest["timeout"])
    return runner.Runner(config=config).run()  # type: ignore[no-any-return]


def _mirror(source: str, project: Path) -> None:
    """Lay what is beside a playbook beside our copy of it: roles, files, templates, variables."""
    if source:
        for entry in Path(source).iterdir():
            if not (project / entry.name).exists():
                (project / entry.name).symlink_to(entry)


def _configure(folder: JobFolder) -> Any:
    """What ansible-runner makes of the private data folder."""
    job = Play.job
    config = importlib.import_module("ansible_runner.config.runner").RunnerConfig(
        private_data_dir=str(folder.path),
        ident=folder.handle,
        inventory=[*([] if job.get("listing") else [str(folder.path / "inventory")]), *job["inventory"]],
        limit=None if job.get("listing") else f"@{folder.path / 'limit'}",
        cmdline=shlex.join([*_options(job), *job["options"]]) or None,
        module=job.get("module"),
        host_pattern="all" if job.get("module") else None,
        playbook=job.get("playbook"),
        settings={"subprocess_timeout": job["seconds"]},
        fact_cache_type="",
        quiet=True,
    )
    config.prepare()
    folder.shred("env/passwords")
    config.runner_mode, config.subprocess_timeout = "subprocess", job["seconds"]
    # Hosts' words must not reach the parser of events that ansible-runner holds against standard output.
    config.suppress_output_file = True
    config.output_fd = _new_file(Path(config.artifact_dir) / "stdout")
    config.error_fd = _new_file(Path(config.artifact_dir) / "stderr")
    for name in ("ANSIBLE_STDOUT_CALLBACK", "ANSIBLE_CALLBACK_PLUGINS", "ANSIBLE_HOST_KEY_CHECKING"):
        config.env.pop(name, None)
    config.env.update(_environment(job))
    return config


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _options(job: Mapping[str, Any]) -> list[str]:
    """Options that add to what ansible.cfg says rather than replace it."""
    options = []
    if _unset("DEFAULT_FORKS") and "--forks" not in job["options"]:
        options += ["--forks", str(FORKS)]
    for name in ("ssh_extra_args", "sftp_extra_args", "scp_extra_args"):
        own = job["ssh_args"]
        theirs = _ssh_option(name)[0] or ""
        options.append(f"--{name.replace('_', '-')}={' '.join(filter(None, [theirs, own]))}")
    return options


def _environment(job: Mapping[str, Any]) -> dict[str, str]:
    """What ansible.cfg may say and does not."""
    env: dict[str, str] = dict(job["env"])
    if _ssh_option("pipelining")[1] == "default":
        env.setdefault("ANSIBLE_PIPELINING", "True")
    if _ssh_option("control_path_dir")[1] == "default":
        env["ANSIBLE_SSH_CONTROL_PATH_DIR"] = job["control_path_dir"]
    return env


def _unset(name: str) -> bool:
    constants = importlib.import_module("ansible.constants")
    return bool(constants.config.get_config_value_and_origin(name)[1] == "default")


def _ssh_option(name: str) -> tuple[Any, str]:
    config = importlib.import_module("ansible.constants").config
    value, origin = config.get_config_value_and_origin(name, plugin_type="connection", plugin_name="ssh")
    return value, str(origin)


def _play(
    folder: JobFolder, config: Any, command: Sequence[str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Fork the process that is Ansible; wait for its end, and end it when its time is over.

    Raises:
        subprocess.CalledProcessError: its return code is not 0.
        subprocess.TimeoutExpired: its time was over, and it was ended.
    """
    player = os.fork()
    if not player:
        _become_ansible(config, command)
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        stopping.stop(folder, spare=os.getpid())

    alarm = threading.Timer(seconds, stop)
    alarm.daemon = True
    alarm.start()
    status = os.waitstatus_to_exitcode(os.waitpid(player, 0)[1])
    alarm.cancel()
    if stopped.is_set():
        raise subprocess.TimeoutExpired(command, seconds)
    if status:
        raise subprocess.CalledProcessError(status, command)
    return subprocess.CompletedProcess(command, 0)


def _become_ansible(config: Any, command: Sequence[str]) -> NoReturn:
    status = 70
    try:
        os.setpgid(0, 0)
        os.dup2(config.output_fd, 1)
        os.dup2(config.error_fd, 2)
        os.chdir(config.cwd)
        os.environ.clear()
        os.environ.update(config.env)
        getpass.getpass = _answers(config.passwords or {})
        status = _ansible(command)
    except BaseException as trouble:  # noqa: BLE001 -- it must be told, and must not come back from here
        text = str(getattr(trouble, "message", trouble)) or type(trouble).__name__
        Play.writer.append("error", text=text[:ERROR])
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _ansible(command: Sequence[str]) -> int:
    """Do what the programs ``ansible`` and ``ansible-playbook`` do once they are loaded."""
    constants: Any = importlib.import_module("ansible.constants")
    constants.DEFAULT_STDOUT_CALLBACK = CALLBACK
    if Play.job.get("listing"):
        return _list_hosts(command)
    if command[0] == "ansible":
        base, settings = importlib.import_module("ansible.cli.adhoc").AdHocCLI, {"callback": CALLBACK}
    else:
        base, settings = importlib.import_module("ansible.cli.playbook").PlaybookCLI, {}
    base._play_prereqs = _checked(base._play_prereqs)
    return int(base(list(command), **settings).run() or 0)


def _list_hosts(command: Sequence[str]) -> int:
    """Note the hosts of the site's inventories, with what is told of them and needs no host to be asked."""
    # An inventory that can't be read must not look like an empty one.
    constants: Any = importlib.import_module("ansible.constants")
    constants.INVENTORY_ANY_UNPARSED_IS_FAILED = True
    program = importlib.import_module("ansible.cli.adhoc").AdHocCLI(list(command))
    program.parse()
    importlib.import_module("ansible.plugins.loader").init_plugin_loader([])
    loader, inventory, variables = program._play_prereqs()
    templar = importlib.import_module("ansible.template").Templar(loader=loader)
    for host in inventory.get_hosts("all"):
        known = variables.get_vars(host=host, include_hostvars=False)
        groups = sorted(group.name for group in host.get_groups() if group.name not in ("all", "ungrouped"))
        try:
            templar.available_variables = known
            address = str(templar.template(known.get("ansible_host") or ""))
        except Exception:  # noqa: BLE001 -- a template may fail in any way, and the host is there all the same
            address = ""
        Play.writer.append("found", name=host.get_name(), address=address, groups=groups)
    return 0


def _checked(prepare: Any) -> Any:
    """Make sure, once the inventory is read, that each name that we send means one host."""

    def prepared(program: Any) -> Any:
        loader, inventory, variables = prepare(program)
        twofold = sorted(set(Play.job["hosts"]) & set(inventory.groups))
        if twofold:
            names = ", ".join(twofold)
            raise ValueError(f"A host and a group of the inventory have the same name: {names}.")
        return loader, inventory, variables

    return prepared


def _answers(passwords: Mapping[str, str]) -> Any:
    """What a person would type, by the questions of ansible-runner's ``env/passwords``."""

    def getpass(prompt: str = "Password: ", stream: Any = None) -> str:
        for pattern, password in passwords.items():
            if re.search(pattern, prompt):
                return password
        raise EOFError(f"nobody is there to answer {prompt!r}")

    return getpass
