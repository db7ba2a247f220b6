"""What the console takes from npm, and how it is put in its place.

``python -m omserver_web.frontend`` installs what ``package-lock.json`` names (without running anybody's
install scripts), copies the few files that browsers need to ``static/vendor/``, makes one sprite of the icons
that we use, and compiles the translations. Nothing that it makes is committed.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = HERE / "node_modules"
STATIC = HERE.parent / "static"
VENDOR = STATIC / "vendor"
TRANSLATIONS = HERE.parent / "translations"

#: The command that makes what is missing, as people type it.
COMMAND = "make frontend"

#: File under static/vendor/ -> file of an npm package.
COPIES = {
    "htmx.min.js": "htmx.org/dist/htmx.min.js",
    "inter.woff2": "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
    "symbols.woff2": "@fontsource/noto-sans-symbols-2/files/noto-sans-symbols-2-symbols-400-normal.woff2",
    "mono.woff2": "@fontsource-variable/jetbrains-mono/files/jetbrains-mono-latin-wght-normal.woff2",
}

SPRITE = "icons.svg"


def missing() -> list[Path]:
    """The files that have not been made yet."""
    made = [VENDOR / name for name in (*COPIES, SPRITE)]
    made += [source.with_suffix(".mo") for source in sorted(TRANSLATIONS.glob("*/LC_MESSAGES/*.po"))]
    return [path for path in made if not path.is_file()]
