"""Run: pick hosts, pick a module, see exactly what will be hit, run it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, abort, make_response, redirect, render_template, request, url_for
from flask_babel import gettext as _

from .jobs import all_rows
from .master import ConfirmationNeeded, InvalidParam, NotFound, Refused, ask
from .modules import matches
from .numbers import number
from .params import PLACES, field_of, label, with_fields
from .plan import LONGEST_ADDRESS, Plan, rollout_of, texts
from .retold import own_words, retold
from .speech import rule
from .visible import shown
from .words import STATUS, error_sentence

bp = Blueprint("run", __name__)

#: How many hosts the list shows; the filters find the others.
SHOWN = 500
#: So many letters of a wrong value are said again.
LONGEST_SAID = 60


@dataclass
class Check:
    """What the third pane says: what would be hit, or why it cannot be said yet."""

    preview: dict[str, Any] | None = None
    problem: str = ""
    detail: str = ""
    wanted: str = ""
    field_errors: dict[str, str] = field(default_factory=dict)
    bad_hosts: tuple[str, ...] = ()
    confirm_error: str = ""


@bp.get("/")
def start():
    """The start page is Run."""
    return redirect(url_for("run.show"))


@bp.get("/run")
def show():
    """The page, with what the address says filled in.

    :raise 404: it names a job to repeat that is not there.
    """
    if request.args.get("from"):
        return _page(_plan_of_job(request.args["from"], request.args.getlist("only")))
    return _page(_chosen(Plan.read(request.args)))


@bp.post("/run/check")
def check():
    """The same page for a form that is being filled in; nothing is run."""
    plan = _chosen(Plan.read(request.form))
    response = make_response(_page(plan))
    address = url_for("run.show", **plan.address())
    response.headers["HX-Replace-Url"] = address if len(address) < LONGEST_ADDRESS else url_for("run.show")
    return response


@bp.post("/run")
def submit():
    """Run what was checked. Sent twice, the form makes one job.

    :raise 400: something is missing or no longer right; the page says what.
    """
    plan = Plan.read(request.form)
    try:
        module = with_fields(ask("modules.show", module=plan.module))
        answer = ask(
            "job.submit",
            key=request.form.get("key") or None,
            module=plan.module,
            params=plan.values(module["params"]),
            hosts=_checked_hosts(),
            confirm=_confirmed(),
            dry_run=_dry_run(plan, module),
            **_rollout(plan, module),
            **({} if _alone(module) else plan.limits()),
            until=number(request.form.get("until")),
        )
    except Refused as refused:
        if refused.code in ("login_required", "session_expired", "unavailable", "internal", "too_many"):
            raise
        return _page(plan, refused), STATUS.get(refused.code, 400)
    again = 1 if answer["repeated"] else None
    return redirect(url_for("jobs.show", job=answer["job"]["id"], again=again), 303)


def _checked_hosts() -> list[dict[str, Any]]:
    ids = [number(text) for text in request.form.getlist("host_id")]
    if None in ids:
        abort(400)  # fewer hosts than were checked must not be run on
    return [{"id": host} for host in ids]


def _confirmed() -> int | None:
    return number(request.form.get("confirm", "").strip())


def _dry_run(plan: Plan, module: Mapping[str, Any]) -> bool | None:
    return (plan.dry_run and plan.touched and bool(module.get("check"))) or None


def _rollout(plan: Plan, module: Mapping[str, Any]) -> dict[str, Any]:
    """How to go over the hosts; what was said for another module does not count where it cannot be said."""
    return {} if _alone(module) else plan.options()


def _alone(module: Mapping[str, Any]) -> bool:
    """Whether *module* reaches its hosts by itself, all at once."""
    return bool(module.get("direct")) and not module.get("driven")


def _until(plan: Plan, module: Mapping[str, Any] | None) -> int | None:
    """Until when hosts that are off are tried again: said once, so that the form means one thing."""
    hours = number(plan.rollout.get("hours"))
    if not hours or module is None or module.get("repeat") == "once" or _alone(module):
        return None
    return round(time.time()) + hours * 3600


def _chosen(plan: Plan) -> Plan:
    """*plan* after the buttons "all shown" and "none"."""
    if "none" in request.values:
        return plan.with_hosts(())
    if "all" in request.values:
        return plan.with_hosts([*plan.hosts, *(host["name"] for host in _hosts(plan)["hosts"])])
    return plan


def _plan_of_job(told: str, states: list[str]) -> Plan:
    wanted = number(told)
    if wanted is None:
        raise NotFound
    job = ask("job.show", job=wanted)["job"]
    hosts = [row["host"] for row in all_rows(wanted) if not states or row["state"] in states]
    given = job["params"] if isinstance(job["params"], Mapping) else {PLACES: job["params"]}
    params = {name: texts(value) for name, value in given.items()}
    return Plan(
        module=job["module"],
        hosts=tuple(hosts),
        params_of=job["module"],
        params=params,
        dry_run=bool(job.get("dry_run")),
        rollout=rollout_of(job, hosts),
    )


def _hosts(plan: Plan) -> dict[str, Any]:
    return ask(
        "hosts.list",
        categ_id=number(plan.categ),
        app_id=number(plan.app),
        search=plan.search or None,
        limit=SHOWN,
    )


def _page(plan: Plan, refused: Refused | None = None) -> str:
    modules = ask("modules.list")["modules"]
    module = next((with_fields(each) for each in modules if each["id"] == plan.module), None)
    result = _check(plan, module)
    if refused is not None:
        _explain(result, refused, module, plan)
    until = _until(plan, module)
    return render_template(
        "run/show.html",
        plan=plan,
        command=_command(plan, result, until),
        categories=ask("hosts.categories")["categories"],
        listing=_hosts(plan),
        modules=[each for each in modules if matches(each, plan.module_search)],
        module=module,
        check=result,
        key=str(uuid.uuid4()),
        until=until,
    )


def _command(plan: Plan, result: Check, until: int | None) -> str:
    """The line that does the same in a terminal; of what was typed only whole numbers are taken over."""
    if result.preview is None:
        return ""
    limits = {name.replace("_", "-"): number(text) for name, text in plan.limits().items()}
    words = [f"--{name} {limit}" for name, limit in limits.items() if limit is not None]
    words += [f"--until +{plan.rollout['hours']}h"] if until else []
    return " ".join([result.preview["omctl"], *words])


def _check(plan: Plan, module: dict[str, Any] | None) -> Check:
    result = Check(wanted=_missing(plan, module))
    if result.wanted or module is None:
        return result
    try:
        result.preview = ask(
            "job.preview",
            module=plan.module,
            params=plan.values(module["params"]),
            hosts=list(plan.hosts),
            dry_run=_dry_run(plan, module),
            **_rollout(plan, module),
        )
    except Refused as refused:
        _explain(result, refused, module, plan, touched=plan.touched)
    return result


def _missing(plan: Plan, module: dict[str, Any] | None) -> str:
    if module is not None and module["broken"]:
        return _("This module is broken. Its page says where.")
    if module is None and not plan.hosts:
        return _("Pick hosts on the left, then a module.")
    if module is None:
        return _("Pick a module.")
    if not plan.hosts:
        return _("Pick at least one host.")
    return ""


def _explain(
    result: Check, refused: Refused, module: dict[str, Any] | None, plan: Plan, *, touched: bool = True
) -> None:
    """Put what the master refused where the eye is: at the field, at the hosts, or in the pane."""
    if isinstance(refused, ConfirmationNeeded):
        result.confirm_error = error_sentence(refused.code)
        return
    if isinstance(refused, InvalidParam) and module is not None:
        _explain_param(result, refused, module, plan, touched)
        return
    result.preview = None
    result.problem = error_sentence(refused.code, refused.text)
    result.detail = own_words(refused)
    result.bad_hosts = tuple(map(str, refused.details.get("hosts") or ()))


def _explain_param(
    result: Check, refused: InvalidParam, module: dict[str, Any], plan: Plan, touched: bool
) -> None:
    result.preview = None
    param = field_of(module, refused.details.get("param"))
    if param is None:
        result.problem, result.detail = error_sentence(refused.code), retold(refused.text)
        return
    typed = ", ".join(plan.typed(param)).strip()
    if typed:
        fault = rule(param) or retold(refused.text)
        named = {"field": label(param), "value": shown(typed[:LONGEST_SAID]), "rule": fault}
        result.wanted = _("“%(field)s” cannot be “%(value)s”. %(rule)s", **named)
    else:
        fault = rule(param) or _("This field must be filled in.")
        result.wanted = _("Fill in “%(field)s”.", field=label(param))
    if touched:
        result.field_errors[param["name"]] = fault
