"""The calls about connections and hosts; `omserver_client.client.Client` has them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Json = dict[str, Any]

#: How long trying a connection, or asking it for its hosts, may take, in seconds.
ASK_TIMEOUT = 60.0


class _Calls(Protocol):
    def call(
        self, op: str, args: Mapping[str, Any] | None = None, *, deadline: float | None = None
    ) -> Json: ...


class HostCalls:
    """Hosts, the ways to them, and imports. All but `host` are for admins."""

    def host(self: _Calls, host: str) -> Json:
        """One host, with ``facts`` and ``ways``: ``[{connection, kind, remote_id, state, reason}]``."""
        return self.call("hosts.show", {"host": host})

    def add_host(self: _Calls, host: str, ways: Sequence[Json] | None = None, **values: str) -> Json:
        """Add a host; *ways* ``[{connection, remote_id?}]``, the site's usual one if not said.

        *values*: ``wip lip os os_family categ app state labels`` (``"pair=db-a, rack=r3"``).
        """
        return self.call("hosts.add", {"host": host, "ways": ways, **values})

    def set_hosts(self: _Calls, hosts: Sequence[str], **values: str) -> Json:
        """Change what is known of hosts; ``name`` renames a single one.

        Labels that are not named stay; ``"pair="`` takes one away.
        """
        return self.call("hosts.set", {"hosts": list(hosts), **values})

    def set_ways(self: _Calls, hosts: Sequence[str], **change: Any) -> Json:
        """Change the ways to hosts: ``ways``; ``add``, ``place``; ``remove``; or ``move``, ``by``."""
        return self.call("hosts.ways", {"hosts": list(hosts), **change})

    def preview_import(
        self: _Calls, source: str | None = None, csv: bytes | None = None, **options: Any
    ) -> Json:
        """What an import would do: ``{token, digest, counts, total, rows, ...}``.

        From the connection *source*, or a *csv* file's bytes; *options* as ``import.preview`` takes them.
        """
        body = None if csv is None else base64.b64encode(csv).decode()
        return self.call("import.preview", {"source": source, "csv": body, **options}, deadline=ASK_TIMEOUT)

    def import_rows(self: _Calls, token: str, **filters: Any) -> Json:
        """Rows of a preview. *filters*: ``status``, ``search``, ``limit``, ``offset``."""
        return self.call("import.rows", {"token": token, **filters})

    def apply_import(self: _Calls, token: str, digest: str | None = None) -> Json:
        """Do what was previewed: ``{counts}``; refused with `PreviewOutdated` if that has changed."""
        return self.call("import.apply", {"token": token, "digest": digest}, deadline=ASK_TIMEOUT)


class ConnectionCalls:
    """Connections: the named ways to reach hosts. All but `connection_kinds` are for admins."""

    def connection_kinds(self: _Calls) -> list[Json]:
        """The kinds of connection: ``{kind, keeps_hosts, settings}``."""
        return list(self.call("connections.kinds")["kinds"])

    def connections(self: _Calls) -> list[Json]:
        """All connections; of secret settings only the names of those that are set."""
        return list(self.call("connections.list")["connections"])

    def connection(self: _Calls, connection: str) -> Json:
        """One connection."""
        return self.call("connections.show", {"connection": connection})

    def add_connection(
        self: _Calls,
        connection: str,
        kind: str,
        settings: Mapping[str, Any] | None = None,
        machines: Sequence[str] | None = None,
    ) -> Json:
        """Add a connection; secret settings stand among the others.

        *machines* serve it: none of them, any; None, what is usual for its kind.
        """
        args = {"connection": connection, "kind": kind, "settings": dict(settings or {})}
        return self.call("connections.add", args | _served_by(machines), deadline=ASK_TIMEOUT)

    def set_connection(
        self: _Calls,
        connection: str,
        settings: Mapping[str, Any] | None = None,
        machines: Sequence[str] | None = None,
    ) -> Json:
        """Change the settings that are named (None takes one back), and which machines serve it."""
        args = {"connection": connection, "settings": dict(settings or {})} | _served_by(machines)
        return self.call("connections.set", args, deadline=ASK_TIMEOUT)

    def rename_connection(self: _Calls, connection: str, name: str) -> Json:
        """Give a connection another name."""
        return self.call("connections.rename", {"connection": connection, "name": name})

    def enable_connection(self: _Calls, connection: str, enabled: bool = True) -> Json:
        """Turn a connection on, or off."""
        op = "connections.enable" if enabled else "connections.disable"
        return self.call(op, {"connection": connection})

    def remove_connection(self: _Calls, connection: str) -> None:
        """Remove a connection that no host uses."""
        self.call("connections.remove", {"connection": connection})

    def try_connection(self: _Calls, connection: str, host: str | None = None) -> Json:
        """Ask whether it is up, and perhaps one host: ``{up, reason, seconds, host, state, ...}``."""
        args = {"connection": connection} | ({"host": host} if host else {})
        return self.call("connections.try", args, deadline=ASK_TIMEOUT)


def _served_by(machines: Sequence[str] | None) -> Json:
    return {} if machines is None else {"machines": list(machines)}
