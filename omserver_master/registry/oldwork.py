"""What the old libraries could do on a host, as work of today."""

from __future__ import annotations

from pathlib import Path

from ..contract.work import Put, Run, Script, Work
from .oldfleet import fleet

#: A service by whatever this host has: systemd, service, or its script.
_SERVICE = r"""PATH=$PATH:/usr/sbin:/sbin
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
    exec systemctl "$2" "$1"
elif command -v service >/dev/null 2>&1; then
    exec service "$1" "$2"
elif [ -x "/etc/init.d/$1" ]; then
    exec "/etc/init.d/$1" "$2"
fi
echo "There is neither systemctl nor service nor /etc/init.d/$1 on this host." >&2
exit 127
"""
ACTIONS = ("start", "stop", "restart", "reload", "status")


def service(name: str, action: str) -> Work:
    """Start, stop, ... a service; return code 0 where that went well."""
    if action not in ACTIONS:
        raise fleet().wrong(f"a service can be told {', '.join(ACTIONS)}, not {action!r}")
    if not name or name.startswith("-") or "/" in name:
        raise fleet().wrong(f"{name!r} is no name of a service")
    return Script(_SERVICE, [name, action])


def shell(command: str, cwd: str | None = None, *, merged: bool = False) -> Run:
    """A command of the module's author, as it is; with *merged*, standard error goes where output goes."""
    first = "exec 2>&1\n" if merged else ""
    if cwd:
        return Run(f'cd -- "$OM_CWD" || exit 1\n{first}{command}', env={"OM_CWD": cwd})
    return Run(first + command)


def put_file(source: str, target: str, mode: int = 0o644) -> Put:
    """A file of this machine to the host: one of ``modules/files``, or an absolute path.

    Raises:
        OldCallError: there is no such file.
    """
    path = Path(source) if source.startswith("/") else site_file(source)
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise fleet().wrong(f"the file {source!r} cannot be read: {reason}; look in {files()}") from error
    return put(target, content, mode)


def put(target: str, content: bytes, mode: int = 0o644) -> Put:
    """*content* to *target*, which is an absolute path.

    Raises:
        OldCallError: it is none, or the mode is none.
    """
    try:
        return Put(target, content, mode)
    except ValueError as error:
        raise fleet().wrong(str(error).rstrip(".")) from error


def site_file(name: str) -> Path:
    """The file *name* of ``modules/files``; it never leads out of there."""
    path = (files() / name).resolve()
    if not path.is_relative_to(files().resolve()):
        raise fleet().wrong(f"{name!r} is not within {files()}")
    return path


def files() -> Path:
    """Where the site keeps files for hosts."""
    return fleet().folder / "files"


def shell_script(text: str, *words: str) -> Script:
    """A script of ours; *words* are its arguments and nothing is pasted into it."""
    return Script(text, words)
