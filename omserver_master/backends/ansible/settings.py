"""What can be set of a connection of the kind ansible, and what of it Ansible is told, and how."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..options import Setting

SETTINGS = (
    Setting(
        "inventory",
        "The site's own inventories: files, folders, scripts, plug-in settings. Empty: only our own hosts.",
        "已有的 inventory：文件、目录、脚本或插件配置。留空则只用 OMServer 的主机表。",
        "words",
        default=(),
    ),
    Setting(
        "config",
        "The site's ansible.cfg. Empty: ~/.ansible.cfg or /etc/ansible/ansible.cfg, if there is one.",
        "ansible.cfg 的路径。留空则使用 ~/.ansible.cfg 或 /etc/ansible/ansible.cfg（如果存在）。",
        "path",
    ),
    Setting("user", "The user on the hosts.", "登录主机的用户。"),
    Setting("private_key_file", "The ssh key to log in with.", "登录用的 ssh 私钥文件。", "path"),
    Setting("password", "The ssh password, where there is no key.", "ssh 密码（没有密钥时）。", secret=True),
    Setting("become", "Become another user on the hosts.", "在主机上切换为其他用户。", "bool"),
    Setting("become_user", "The user to become; root if empty.", "要切换成的用户，留空为 root。"),
    Setting("become_method", "How to become it: sudo if empty.", "切换用户的方式，留空为 sudo。"),
    Setting("become_password", "The password that sudo asks for.", "sudo 要求的密码。", secret=True),
    Setting("vault_password", "The password of Ansible's vault.", "Ansible vault 的密码。", secret=True),
    Setting(
        "vault_password_file",
        "A file that holds the vault's password, or a program that prints it.",
        "保存 vault 密码的文件，或输出密码的程序。",
        "path",
    ),
    Setting(
        "forks",
        "Hosts that are spoken to at once. Empty: what ansible.cfg says, else 50.",
        "同时连接的主机数。留空则按 ansible.cfg，没有则为 50。",
        "number",
    ),
    Setting(
        "host_key_checking",
        "Whether a host must be in known_hosts. Empty: what ansible.cfg says, else yes.",
        "主机是否必须在 known_hosts 中。留空则按 ansible.cfg，没有则为是。",
        "bool",
    ),
    Setting("known_hosts", "The file with the hosts' ssh keys.", "保存主机 ssh 公钥的文件。", "path"),
    Setting("ssh_args", "More options for ssh, as for its command line.", "附加的 ssh 命令行选项。"),
    Setting(
        "pipelining",
        "Whether modules go over standard input. Empty: what ansible.cfg says, else yes.",
        "模块是否经标准输入传送。留空则按 ansible.cfg，没有则为是。",
        "bool",
    ),
    Setting(
        "python",
        "The Python on the hosts, for playbooks: a path, or auto.",
        "主机上的 Python（playbook 使用）：路径或 auto。",
        default="auto",
    ),
    Setting(
        "raw",
        "auto: look whether a host has a Python for Ansible, and say so if not. always: never look.",
        "auto：检查主机是否有 Ansible 可用的 Python，没有则说明。always：从不检查。",
        "choice",
        default="auto",
        choices=("auto", "always"),
    ),
    Setting(
        "run_dir",
        "The folder for what runs; all workers need the same. Empty: below OMSERVER_HOME, else below /tmp.",
        "存放运行数据的目录，各 worker 须相同。留空则在 OMSERVER_HOME 下，否则在 /tmp 下。",
        "path",
    ),
)
#: A connection that was cut is noticed after some 10 s, also where one is kept open.
_ALIVE = "-o ServerAliveInterval=3 -o ServerAliveCountMax=3"
#: The questions of Ansible that passwords answer, as in ansible-runner's env/passwords.
_QUESTIONS = {
    "password": r"^SSH password:\s*?$",
    "become_password": r"^BECOME password.*:\s*?$",
    "vault_password": r"^Vault password.*:\s*?$",
}


def check(connection: str, settings: Mapping[str, Any]) -> None:
    """See what reading the settings one by one does not show.

    Raises:
        ValueError: one is wrong.
    """
    for path in settings["inventory"]:
        if not path.startswith(("/", "~/")):
            raise ValueError(f"Connection {connection}: inventory: {path!r} must be an absolute path.")
    if settings["python"] != "auto" and not settings["python"].startswith("/"):
        raise ValueError(f"Connection {connection}: python: It must be a path, or auto.")
    if settings["forks"] is not None and not 1 <= settings["forks"] <= 500:
        raise ValueError(f"Connection {connection}: forks: It must be a number from 1 to 500.")
    try:
        shlex.split(settings["ssh_args"] or "")
    except ValueError as error:
        raise ValueError(f"Connection {connection}: ssh_args: {error}.") from error


def why_down(settings: Mapping[str, Any]) -> str:
    """Why no run can be started with these settings, in one line; ``""`` when it can."""
    if shutil.which("ssh") is None:
        return "This machine has no ssh program."
    for name in ("config", "private_key_file", "vault_password_file", "known_hosts"):
        path = settings[name]
        if path and not os.access(Path(path).expanduser(), os.R_OK):
            return f"{name}: {path} can't be read."
    for path in settings["inventory"]:
        if not os.access(Path(path).expanduser(), os.R_OK):
            return f"inventory: {path} can't be read."
    return ""


def options(settings: Mapping[str, Any]) -> list[str]:
    """The options of ``ansible`` and ``ansible-playbook``; no secrets are among them."""
    words = []
    for name, option in (("user", "--user"), ("private_key_file", "--private-key"), ("forks", "--forks")):
        if settings[name] is not None:
            words += [option, str(settings[name])]
    if settings["become"]:
        words += ["--become"]
        words += ["--become-user", settings["become_user"]] if settings["become_user"] else []
        words += ["--become-method", settings["become_method"]] if settings["become_method"] else []
    if settings["password"]:
        words += ["--ask-pass"]
    if settings["become_password"]:
        words += ["--ask-become-pass"]
    if settings["vault_password"]:
        words += ["--ask-vault-pass"]
    if settings["vault_password_file"]:
        words += ["--vault-password-file", settings["vault_password_file"]]
    return words


def passwords(settings: Mapping[str, Any]) -> bytes:
    """The content of ansible-runner's ``env/passwords``."""
    return json.dumps({_QUESTIONS[name]: settings[name] for name in _QUESTIONS if settings[name]}).encode()


def ssh_args(settings: Mapping[str, Any]) -> str:
    """Options for ssh on top of what ansible.cfg says."""
    words = [settings["ssh_args"] or "", _ALIVE]
    if settings["known_hosts"]:
        words.append(
            "-o " + shlex.quote(f'UserKnownHostsFile="{Path(settings["known_hosts"]).expanduser()}"')
        )
    return " ".join(filter(None, words))


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """Variables for what Ansible has no option for."""
    env = {"ANSIBLE_NOCOLOR": "True", "ANSIBLE_RETRY_FILES_ENABLED": "False"}
    names = {"host_key_checking": "ANSIBLE_HOST_KEY_CHECKING", "pipelining": "ANSIBLE_PIPELINING"}
    return env | {env: str(settings[name]) for name, env in names.items() if settings[name] is not None}
