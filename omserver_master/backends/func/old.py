"""What is run on minions of the original Func, which know no names for programs: a folder stands for one.

The work's input is copied into a folder of mode 0700 named after the handle, and the program that takes it
out of there starts. Whoever takes the input away first decides: it is run once, or never.
"""

from __future__ import annotations

import hashlib
import shlex

from ..base import Target
from ..onhost import COMMAND

#: Folders of minutes ago are removed by the next work: more than a day.
_OLD_MINUTES = 1500


def name_of(handle: str, host: Target) -> str:
    """What names the work on one host; two hosts may be one machine."""
    return f"{handle}-{hashlib.sha256(host.id.encode()).hexdigest()[:8]}"


def folder(handle: str) -> str:
    """The folder on the host."""
    return f"/var/tmp/omserver-func-{handle}"  # noqa: S108 -- made with mode 0700 under a name nobody knows


def begin(handle: str) -> str:
    """Make the folder, which must be new; sweep out those of long ago."""
    sweep = (
        "find /var/tmp -maxdepth 1 -type d -name 'omserver-func-*' -user \"$(id -u)\" "
        f"-mmin +{_OLD_MINUTES} -exec rm -rf {{}} + 2>/dev/null"
    )
    return f"{sweep}; umask 077; mkdir -m 700 {folder(handle)}"


def go(handle: str, most: int) -> str:
    """Run the work, unless its input is gone; keep its answer, of *most* bytes, and print it."""
    shell, option, text = COMMAND
    return "\n".join(
        (
            f"cd {folder(handle)} && mv stdin taken && exec 3<taken && rm -f taken || exit 9",
            "umask 077",
            "{",
            f"{shell} {option} {shlex.quote(text)} <&3 2>/dev/null 3<&- &",
            "echo $! >pid",
            "exec 3<&-",
            "wait $!",
            f"}} | head -c {most} >part",
            "mv part answer",
            "cat answer",
        )
    )


def look(handle: str) -> str:
    """Print what became of it: never (and it can't be run any more), running, answer ..., ended, or none."""
    return "\n".join(
        (
            f"cd {folder(handle)} 2>/dev/null || {{ echo none; exit 0; }}",
            "if [ -e answer ]; then echo answer; cat answer; exit 0; fi",
            "if mv stdin cancelled 2>/dev/null; then rm -f cancelled; echo never; exit 0; fi",
            f"if rmdir {folder(handle)} 2>/dev/null; then echo never; exit 0; fi",
            'if [ ! -e pid ] || kill -0 "$(cat pid)" 2>/dev/null; then echo running; exit 0; fi',
            "sleep 1",
            "if [ -e answer ]; then echo answer; cat answer; else echo ended; fi",
        )
    )


def stop(handle: str) -> str:
    """End it; print never, over, stopped, running or none."""
    return "\n".join(
        (
            f"cd {folder(handle)} 2>/dev/null || {{ echo none; exit 0; }}",
            "if mv stdin cancelled 2>/dev/null; then rm -f cancelled; echo never; exit 0; fi",
            "if [ -e answer ]; then echo over; exit 0; fi",
            "[ -e pid ] || sleep 1",
            "read -r pid <pid || { echo none; exit 0; }",
            'kill -TERM "$pid" 2>/dev/null',
            'for turn in 1 2 3 4 5 6; do kill -0 "$pid" 2>/dev/null || break; sleep 1; done',
            'if kill -0 "$pid" 2>/dev/null; then echo running; exit 0; fi',
            "if [ -s answer ] || [ -s part ]; then echo over; else echo stopped; fi",
        )
    )
