"""What gunicorn loads: ``gunicorn -c omserver_web/gunicorn.conf.py omserver_web.wsgi:app``."""

from __future__ import annotations

from . import create_app

app = create_app()
