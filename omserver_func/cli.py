"""``omserver-func``: certificates for a Func network, and calls from the command line."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .certificates import Authority, CertificateError, Role, key_pem, make_request, new_key, pem, write_file
from .certmaster import CertmasterServer
from .config import MasterFiles, OverlordConfig, WrongSetting
from .errors import FuncClientError, is_error
from .overlord import Overlord
from .subject import fingerprint, pem_to_der, subject_of


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 well; 1 a host failed, or a thing can't be done; 2 wrong usage."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        return int(options.do(options) or 0)
    except (CertificateError, FuncClientError, WrongSetting, OSError, ValueError) as error:
        sys.stderr.write(f"omserver-func: {error}\n")
        return 1


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="omserver-func", description=__doc__)
    parser.add_argument(
        "--certmaster-conf",
        type=Path,
        default=Path("/etc/certmaster/certmaster.conf"),
        help="where the CA and its folders are (a certmaster's own file is used as it is)",
    )
    parser.add_argument("--overlord-conf", type=Path, default=Path("/etc/func/overlord.conf"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: Any, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(do=do)
        return made

    made = command("new-ca", _new_ca, "make a CA; one that is there stays as it is")
    made.add_argument("name", help="what to call it, such as the site's name")
    command("list", _list, "the hosts whose requests wait to be signed")
    command("list-signed", _list_signed, "the hosts that have a certificate")
    command("list-hashes", _list_hashes, "how ACLs name the owner of each certificate")
    command("fingerprint", _fingerprint, "the SHA-256 of the CA's certificate, for hosts to know it by")
    made = command("sign", _sign, "sign requests that wait")
    made.add_argument("hosts", nargs="+", help="names, or patterns such as 'web*'")
    made.add_argument("--role", choices=("minion", "caller", "both"), default="minion")
    made.add_argument("--accept-md5", action="store_true", help="sign the requests of Func's own time, too")
    made = command("issue", _issue, "make a key and a certificate for it in one step")
    made.add_argument("name")
    made.add_argument("--role", choices=("minion", "caller", "both"), default="caller")
    made.add_argument("--folder", type=Path, required=True, help="for NAME.pem, NAME.cert and ca.cert")
    made = command(
        "clean", _clean, "forget requests and certificates (a certificate stays valid: see the manual)"
    )
    made.add_argument("hosts", nargs="+", help="names, or patterns such as 'web*'")
    made = command(
        "certmaster", _certmaster, "take requests over plain HTTP, as the original did, until stopped"
    )
    made.add_argument("--listen", default="", help="address; otherwise listen_addr, otherwise 127.0.0.1")
    made.add_argument("--port", type=int, default=None)
    made = command("call", _call, "call a method on hosts")
    made.add_argument("spec", help="such as 'web*;@databases'")
    made.add_argument("method", help="such as command.run")
    made.add_argument("arguments", nargs="*", help="texts; or any JSON value, after json:")
    made.add_argument("--forks", type=int, default=10, help="hosts at once")
    made.add_argument("--timeout", type=float, default=None, help="seconds of silence")
    made.add_argument("--json", action="store_true", help="the results as JSON")
    return parser


def _authority(options: argparse.Namespace) -> Authority:
    return Authority(MasterFiles.read(options.certmaster_conf))


def _new_ca(options: argparse.Namespace) -> None:
    authority = _authority(options)
    authority.create(options.name)
    for folder in (authority.files.cert_root, authority.files.csr_root):
        folder.mkdir(parents=True, exist_ok=True)
    _say(
        f"The CA is in {authority.files.ca_folder}. Keep certmaster.key safe: who has it may call everything."
    )
    _fingerprint(options)


def _list(options: argparse.Namespace) -> None:
    for name in _authority(options).waiting():
        _say(name)


def _list_signed(options: argparse.Namespace) -> None:
    for name in _authority(options).signed():
        _say(name)


def _list_hashes(options: argparse.Namespace) -> None:
    authority = _authority(options)
    for name in authority.signed():
        _say(subject_of(pem_to_der(authority.cert_file(name))).key)


def _fingerprint(options: argparse.Namespace) -> None:
    _say(fingerprint(pem_to_der(_authority(options).files.ca_cert)))


def _sign(options: argparse.Namespace) -> int:
    authority = _authority(options)
    names = authority.matching(options.hosts, authority.waiting())
    for name in names:
        path = authority.sign_waiting(name, role=options.role, accept_md5=options.accept_md5)
        _say(f"{name} is signed: {path}")
    if not names:
        _say("No request that waits matches.")
    return 0 if names else 1


def _issue(options: argparse.Namespace) -> None:
    authority = _authority(options)
    role: Role = options.role
    folder: Path = options.folder
    key_file, cert_file = folder / f"{options.name}.pem", folder / f"{options.name}.cert"
    if key_file.exists() or cert_file.exists():
        raise CertificateError(f"There is a key or a certificate of {options.name} in {folder} already.")
    key = new_key()
    certificate = authority.sign(make_request(options.name, key), role=role)
    write_file(key_file, key_pem(key), 0o600)
    write_file(cert_file, pem(certificate), 0o644)
    write_file(folder / "ca.cert", authority.files.ca_cert.read_bytes(), 0o644)
    if role != "caller":
        write_file(authority.cert_file(options.name), pem(certificate), 0o644)
    _say(f"In ACLs of minions it is called {subject_of(pem_to_der(cert_file)).key}")


def _clean(options: argparse.Namespace) -> int:
    gone = _authority(options).clean(options.hosts)
    for path in gone:
        _say(f"{path} is gone.")
    return 0 if gone else 1


def _certmaster(options: argparse.Namespace) -> None:
    authority = _authority(options)
    files = authority.files
    port = files.port if options.port is None else options.port
    with CertmasterServer((options.listen or files.listen, port), authority) as server:
        host = str(server.server_address[0])
        shown = f"[{host}]" if ":" in host else host
        _say(f"Taking requests on {shown}:{server.port}. Nothing is signed by itself.")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            _say("Stopped.")


def _call(options: argparse.Namespace) -> int:
    module, dot, method = options.method.rpartition(".")
    if not dot:
        raise ValueError(f"A method is called like command.run, not {options.method!r}.")
    config = OverlordConfig.read(options.overlord_conf, options.certmaster_conf)
    overlord = Overlord(options.spec, nforks=options.forks, timeout=options.timeout, config=config)
    arguments = [json.loads(word[5:]) if word.startswith("json:") else word for word in options.arguments]
    results = overlord.run(module, method, arguments)
    if options.json:
        _say(json.dumps(results, default=_plain, indent=1, ensure_ascii=True))
    else:
        for host, result in sorted(results.items()):
            _say(f"{host}: {result!r}")
    return 1 if any(is_error(result) for result in results.values()) else 0


def _plain(value: Any) -> str:
    return value.data.decode("utf-8", "replace") if isinstance(value, xmlrpc.client.Binary) else str(value)
