"""How gunicorn serves the console: threads, since a live job page keeps one while it is open."""

from __future__ import annotations

import os

from .settings import from_environment

_settings = from_environment(os.environ)
_host = str(_settings["WEB_HOST"]).strip("[]")

bind = f"[{_host}]:{_settings['WEB_PORT']}" if ":" in _host else f"{_host}:{_settings['WEB_PORT']}"
worker_class = "gthread"
workers = _settings["WORKERS"]
threads = 32
timeout = 60
graceful_timeout = 5
keepalive = 30
# A page with many hosts has a long address; beyond this it is a form anyway.
limit_request_line = 8190
# The worker's heartbeat file is in memory: a slow disk must not look like a hung worker.
_memory = "/dev/shm"  # noqa: S108 -- gunicorn makes its own file there, with mkstemp
worker_tmp_dir = _memory if os.access(_memory, os.W_OK) else None
# No control socket: two copies of one user would fight for it.
control_socket_disable = True
