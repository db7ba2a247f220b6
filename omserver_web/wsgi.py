"""What gunicorn loads: ``gunicorn -c python:omserver_web.gunicorn_conf omserver_web.wsgi:app``."""

from __future__ import annotations

from . import create_app

app = create_app()
