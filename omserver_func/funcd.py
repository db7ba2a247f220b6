"""``omserver-funcd``: run a minion, or get it a certificate."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .certificates import CertificateError
from .certmaster import Enrolment
from .config import MinionConfig, WrongSetting
from .daemon import Minion
from .errors import FuncError
from .tls import PROFILES, expires_soon, why_unusable

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 well; 1 a thing can't be done; 2 wrong usage; 3 the request is not signed yet."""
    options = _parser().parse_args(argv)
    os.umask(0o022)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        config = _config(options)
        return int(options.do(options, config))
    except (CertificateError, WrongSetting, FuncError, OSError, ValueError) as error:
        sys.stderr.write(f"omserver-funcd: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="omserver-funcd", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("/etc/func/minion.conf"))
    parser.add_argument("--certmaster-config", type=Path, default=Path("/etc/certmaster/minion.conf"))
    parser.add_argument(
        "--name", default="", help="this host's name; otherwise minion_name, otherwise hostname"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="answer callers until stopped")
    run.add_argument("--listen", default="", help="address; otherwise listen_addr, otherwise 127.0.0.1")
    run.add_argument("--port", type=int, default=None)
    run.add_argument("--profile", choices=PROFILES, default=None, help="which TLS to speak")
    run.add_argument(
        "--audit-log", type=Path, help="a file with a line per call: address, name, hash, method"
    )
    run.set_defaults(do=_run)
    request = commands.add_parser(
        "request", help="make key and signing request, to be carried to the CA by hand"
    )
    request.set_defaults(do=_request)
    enroll = commands.add_parser("enroll", help="ask a certmaster for the certificate, over plain HTTP")
    enroll.add_argument("--certmaster", default="", help="its host; otherwise as the settings say")
    enroll.add_argument("--port", type=int, default=None)
    trust = enroll.add_mutually_exclusive_group(required=True)
    trust.add_argument("--ca-fingerprint", default="", help="what `omserver-func fingerprint` says there")
    trust.add_argument("--any-ca", action="store_true", help="take the CA that answers, whoever that is")
    enroll.add_argument("--wait", type=float, default=0.0, help="seconds to wait until it is signed")
    enroll.set_defaults(do=_enroll)
    return parser


def _config(options: argparse.Namespace) -> MinionConfig:
    config = MinionConfig.read(options.config, options.certmaster_config)
    name = (options.name or config.name or socket.gethostname()).lower()
    return replace(config, name=name)


def _run(options: argparse.Namespace, config: MinionConfig) -> int:
    config = replace(
        config,
        listen=options.listen or config.listen,
        port=config.port if options.port is None else options.port,
        profile=options.profile or config.profile,
    )
    identity = config.files(config.name)
    if reason := why_unusable(identity):
        raise WrongSetting(f"{reason} `omserver-funcd enroll` and `omserver-funcd request` get one.")
    if soon := expires_soon(identity):
        log.warning("%s", soon)
    if options.audit_log is not None:
        _keep_audit(options.audit_log)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    minion = Minion(config, identity)
    minion.start()
    log.info("%s listens on %s, port %d", config.name, config.listen, minion.server.port)
    try:
        while not stop.wait(3600):
            log.debug("another hour")
    finally:
        minion.stop()
    return 0


def _keep_audit(path: Path) -> None:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    path.chmod(0o600)
    audit = logging.getLogger("omserver_func.audit")
    audit.addHandler(handler)
    audit.propagate = False


def _enrolment(config: MinionConfig, ca_fingerprint: str = "") -> Enrolment:
    return Enrolment(config.name, config.files(config.name), ca_fingerprint)


def _request(options: argparse.Namespace, config: MinionConfig) -> int:
    enrolment = _enrolment(config)
    enrolment.prepare()
    identity = enrolment.identity
    _say(f"Carry {enrolment.request_file} to the CA, and its answers to {identity.cert} and {identity.ca}.")
    return 0


def _enroll(options: argparse.Namespace, config: MinionConfig) -> int:
    enrolment = _enrolment(config, options.ca_fingerprint)
    if not why_unusable(enrolment.identity):
        _say(f"{enrolment.identity.cert} is there already.")
        return 0
    host = options.certmaster or config.certmaster
    port = config.certmaster_port if options.port is None else options.port
    if enrolment.wait(host, port, options.wait, _say):
        _say(f"The certificate is in {enrolment.identity.cert}.")
        return 0
    return 3


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
