"""What Ansible, ssh and sudo complain of, as one sentence that says what to do."""

from __future__ import annotations

import re

#: What a complaint holds -> what it means. The first that fits.
_KNOWN = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "The host's ssh key is not the one in known_hosts: it has changed.",
    ),
    ("Host Key checking is enabled", "The host's ssh key is not in known_hosts; add it there."),
    ("Host key verification failed", "The host's ssh key is not in known_hosts, or not the one there."),
    ("Permission denied", "The host lets us in neither with our ssh key nor with a password."),
    ("Invalid/incorrect", "The host refuses the ssh password."),
    ("Could not resolve hostname", "The host's name has no address."),
    ("a password is required", "sudo on the host asks for a password: set become_password."),
    ("Missing sudo password", "sudo on the host asks for a password: set become_password."),
    ("Incorrect sudo password", "sudo on the host refuses become_password."),
    (
        "waiting for privilege escalation prompt",
        "sudo on the host asked for something, and nobody could answer.",
    ),
    ("not in the sudoers file", "Our user on the host may not use sudo."),
    ("sudo: command not found", "The host has no sudo."),
)
_NOISE = re.compile(
    r"(Task failed: |Failed to connect to the host via ssh: |ssh: |Warning: .*|\*\* .*|"
    r"Data could not be sent to remote host \S+ Make sure this host can be reached over ssh: )"
)
#: How a sentence of our own begins.
_OURS = ("The ", "sudo ", "Our ", "Ansible")
_LONGEST = 300


def unreachable(text: str) -> str:
    """Why Ansible did not get to a host, in one line without control characters."""
    for sign, meaning in _KNOWN:
        if sign in text:
            return meaning
    lines = [_NOISE.sub("", line).strip() for line in text.splitlines()]
    said = next((line for line in reversed(lines) if line), "Ansible did not say why.")
    return _printable(said)


def refused(text: str, rc: int | None) -> str:
    """Why the host did not begin with the work although ssh got there."""
    reason = unreachable(text) if text.strip() else ""
    if reason:
        return reason if reason.startswith(_OURS) else f"The host said: {reason}"
    ended = f": its login shell ended with {rc}" if rc is not None else ""
    return f"The host ran nothing{ended}."


def _printable(text: str) -> str:
    clean = "".join(char if char.isprintable() else "�" for char in text)
    return clean if len(clean) <= _LONGEST else f"{clean[:_LONGEST]}..."
