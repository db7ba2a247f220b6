"""The web console of OMServer: a skin over the master, with no database and no power of its own.

``create_app()`` makes the Flask application; `omserver_web.wsgi` is what gunicorn loads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from flask import Flask, url_for
from flask_babel import Babel, get_locale
from werkzeug.middleware.proxy_fix import ProxyFix

from . import (
    again,
    audit,
    connections,
    groups,
    health,
    hosts,
    imports,
    jobs,
    live,
    modules,
    outputs,
    params,
    preferences,
    retold,
    run,
    search,
    sign,
    site,
    speech,
    times,
    visible,
    words,
)
from .errors import add_handlers
from .frontend import COMMAND, STATIC, missing
from .guard import guard
from .icons import icon
from .master import Master, RemoteMaster
from .numbers import Number
from .settings import LOOPBACK_NAMES, from_environment, read_secret
from .visit import Visits

__all__ = ["NotBuilt", "create_app"]

AREAS = (
    sign,
    run,
    jobs,
    again,
    live,
    outputs,
    groups,
    hosts,
    imports,
    modules,
    audit,
    connections,
    site,
    search,
    preferences,
    health,
)

#: The longest form that is taken, in bytes.
LONGEST_FORM = 4 * 1024 * 1024


class NotBuilt(RuntimeError):
    """The console's libraries have not been fetched yet."""


def create_app(settings: Mapping[str, object] | None = None, *, master: Master | None = None) -> Flask:
    """The console, told by *settings* (default: the environment), in front of *master* (default: over RPyC).

    Raises:
        NotBuilt: what browsers need is not there yet; the message names the command that makes it.
        BadSetting: a setting cannot be used.
    """
    check_built()
    app = Flask(__name__)
    app.url_map.converters["int"] = Number
    _configure(app, from_environment(os.environ) if settings is None else settings)
    app.session_interface = Visits()
    app.extensions["master"] = master or _remote_master(app)
    if app.config["HTTPS"]:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)
    Babel(app, locale_selector=preferences.language)
    guard(app)
    add_handlers(app)
    live.prepare(app)
    for area in AREAS:
        app.register_blueprint(area.bp)
    _teach_templates(app)
    return app


def _configure(app: Flask, settings: Mapping[str, object]) -> None:
    app.config.from_mapping(settings)
    app.config.update(
        SECRET_KEY=read_secret(Path(app.config["HOME"])),
        MAX_CONTENT_LENGTH=LONGEST_FORM,
        MAX_FORM_MEMORY_SIZE=LONGEST_FORM,
        TRUSTED_HOSTS=[*LOOPBACK_NAMES, *app.config["NAMES"]],
        WTF_CSRF_TIME_LIMIT=None,  # a form is good as long as the sign-in it was made for
        SEND_FILE_MAX_AGE_DEFAULT=365 * 24 * 3600,
    )


def check_built() -> None:
    """See to it that the files for browsers are there.

    Raises:
        NotBuilt: some are not.
    """
    absent = missing()
    if absent:
        names = ", ".join(path.name for path in absent)
        raise NotBuilt(f"The console is not built yet ({names}). Run `{COMMAND}`, then start again.")


def _remote_master(app: Flask) -> Master:
    return RemoteMaster(app.config["RPYC_HOST"], app.config["RPYC_PORT"], app.config["KEY_FILE"])


def _teach_templates(app: Flask) -> None:
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        ago=times.ago,
        exact=times.exact,
        lasted=times.lasted,
        amount=times.amount,
        visible=visible.plain,
        shown=visible.shown,
        retold=retold.retold,
        audit_detail=retold.audit_detail,
    )
    app.jinja_env.globals.update(
        icon=icon,
        asset=asset,
        local=speech.local,
        rule=speech.rule,
        choice_label=speech.choice_label,
        choice_value=speech.choice_value,
        setting_help=speech.setting_help,
        setting_text=speech.setting_text,
        param_pairs=params.pairs,
        param_text=params.text,
        words=words,
        languages=preferences.LANGUAGES,
        language=lambda: str(get_locale()),
        light=preferences.light,
    )


def asset(name: str) -> str:
    """The address of a static file, with a mark that changes when the file does."""
    return url_for("static", filename=name, v=_mark(STATIC / name))


@lru_cache
def _mark(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10]
