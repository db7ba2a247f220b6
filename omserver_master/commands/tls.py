"""``omserver tls``: a private certificate authority, for callers on other machines."""

from __future__ import annotations

import click

from ..settings import load_settings, open_home
from ..wire.certificates import LOOPBACK, check_client, check_server_name, issue, make_authority


@click.group()
def command() -> None:
    """Make a private certificate authority, and certificates of it."""


@command.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def make(names: tuple[str, ...]) -> None:
    """Make the master's certificate for the host names and addresses that callers reach it by.

    The authority is made the first time and kept; run it again to renew the certificate.
    """
    wanted = [check_server_name(name) for name in names]
    settings = load_settings()
    folder = open_home(settings) / "tls"
    authority = make_authority(folder)
    cert, key = issue(folder, "master", [*wanted, *LOOPBACK], server=True)
    click.echo("Start the master with:")
    click.echo(f"  OMSERVER_TLS_CERT={cert}")
    click.echo(f"  OMSERVER_TLS_KEY={key}")
    click.echo("The console, and omctl on this machine, need:")
    click.echo(f"  OMSERVER_CA_FILE={authority}")
    click.echo("Give other machines that same file; it is no secret:")
    click.echo(f"  omctl enroll --host {wanted[0]} --key NAME.key --ca ca.pem")


@command.command()
@click.argument("name")
def client(name: str) -> None:
    """Issue a certificate for the program NAME, for a master that asks for one (OMSERVER_TLS_CLIENT_CA)."""
    check_client(name)
    settings = load_settings()
    folder = open_home(settings) / "tls"
    make_authority(folder)
    cert, key = issue(folder, name, [], server=False)
    click.echo(f"OMSERVER_CLIENT_CERT={cert}")
    click.echo(f"OMSERVER_CLIENT_KEY={key}")
