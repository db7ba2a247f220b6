"""``omctl enroll``: tell this machine once where the master is and which key to use."""

from __future__ import annotations

from pathlib import Path

import click

from ..keyfile import format_key, read_key
from ..tls import client_context
from .profile import Profile, check_port, home, save_profile, write_private
from .show import json_option, print_json


@click.command(short_help="Tell this machine where its master is.")
@click.option("--host", required=True, help="The master's name or address.")
@click.option("--port", default=11511, show_default=True, help="The master's port.")
@click.option(
    "--key", "key_file", required=True, type=click.Path(path_type=Path), help="Key file made on the master."
)
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificate authority of the master.",
)
@json_option
def enroll(host: str, port: int, key_file: Path, ca: Path | None, as_json: bool) -> None:
    """Keep the master's address and a key, made there by "omserver key create NAME", in the data folder."""
    key, port = read_key(key_file), check_port(port)
    if ca is not None:
        client_context(ca)  # that it is one; nothing is written before
    kept = home() / "keys" / "omctl.key"
    write_private(kept, format_key(key))
    kept_ca = ""
    if ca is not None:
        kept_ca = str(home() / "ca.pem")
        write_private(Path(kept_ca), ca.read_text(encoding="utf-8", errors="replace"))
    path = save_profile(Profile(host, port, str(kept), kept_ca))
    if as_json:
        print_json({"host": host, "port": port, "key": key.name, "kid": key.kid_hex, "file": str(path)})
    else:
        click.echo(f"Enrolled with the key {key.name}. Next: omctl login")
