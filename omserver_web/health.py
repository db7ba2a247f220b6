"""Whether the console works, and whether the master behind it does."""

from __future__ import annotations

from flask import Blueprint, jsonify

from .master import current_master

bp = Blueprint("health", __name__)


@bp.get("/health")
def show():
    """For a load balancer, and for a page that waits for the master.

    :raise 503: the master cannot be reached.
    """
    up = current_master().reachable()
    return jsonify(web="up", master="up" if up else "down"), 200 if up else 503
