"""What went wrong on the way to a host, in one sentence that says what to do."""

from __future__ import annotations

import errno
import socket

import asyncssh

from .settings import SettingsError, Site, Way

_NO_WAY = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL}


class NotReached(Exception):
    """No session on a host; nothing was sent. The text is a reason for people."""


def why_unknown(site: Site, way: Way) -> str:
    """The reason of a host whose key is not known at all."""
    files = " or ".join(site.known_hosts_files)
    return (
        f"The host key of {way} is not known: {files} has no line for {' or '.join(way.names)}. "
        "Check the key on the host and add it there."
    )


def why(error: Exception, site: Site, way: Way) -> str:
    """Why *way* could not be gone."""
    match error:
        case NotReached() | SettingsError():
            return str(error)
        case asyncssh.HostKeyNotVerifiable():
            return _why_key(error, site, way)
        case asyncssh.PermissionDenied():
            return (
                f"{way} does not let {way.user or 'our user'} in: {_plain(error)}. "
                "Check the user and the key or password of this connection."
            )
        case asyncssh.KeyExchangeFailed():
            files = " or ".join(site.known_hosts_files)
            return (
                f"{way} offers no algorithm or host key type that we know it by ({files}): {_plain(error)}."
            )
        case asyncssh.DisconnectError():
            return f"{way} closed the connection before the login: {_plain(error)}."
        case asyncssh.Error():
            return f"{way} refused a session: {_plain(error)}."
    return _why_network(error, way)


def _why_key(error: asyncssh.HostKeyNotVerifiable, site: Site, way: Way) -> str:
    files = " or ".join(site.known_hosts_files)
    if "revoked" in str(error):
        return f"The host key of {way} is marked as revoked in {files}."
    return (
        f"The host key of {way} is not the one in {files}: it was changed, or somebody else answers. "
        "Nothing was sent. If the change is yours, put the new key there."
    )


def _why_network(error: Exception, way: Way) -> str:
    match error:
        case socket.gaierror():
            return f"The name {way.host} can't be resolved: {error.strerror}."
        case ConnectionRefusedError():
            return f"{way.host} refuses connections on port {way.port}: does sshd run there?"
        case TimeoutError():
            return f"No answer from {way.host} on port {way.port} in time."
        case OSError() if error.errno in _NO_WAY:
            return f"There is no route to {way.host}: {error.strerror}."
        case OSError():
            return f"{way} could not be reached: {error.strerror or error}."
    return f"{way} could not be reached: {_plain(error)}."


def _plain(error: Exception) -> str:
    """The first 200 letters of what may be a host's words, on one line and without its full stop."""
    text = getattr(error, "reason", "") or str(error) or type(error).__name__
    return "".join(letter if letter.isprintable() else " " for letter in text[:200]).strip().rstrip(".")
