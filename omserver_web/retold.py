"""What the master says in English, told again in the person's language.

Its refusals have a code, which `words` has a sentence for; the audit and some pages also show its own words.
A sentence that is not known here stays as the master said it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import zip_longest

from flask_babel import gettext

from .master import Refused
from .speech import chinese
from .words import ERRORS, error_sentence


def _l(sentence: str) -> str:
    """Mark *sentence* for translation."""
    return sentence


#: The master's sentences, with names where it fills something in. The first that fits counts.
SENTENCES = (
    _l("There is no job %(job)s, or it may not be seen."),
    _l("Job %(job)s has no such host, or it may not be seen."),
    _l("The output was removed on %(day)s by age."),
    _l("The output was removed on %(day)s to make room."),
    _l("The output is just being removed."),
    _l("Keeping this job or not needs the right to run it."),
    _l("Not a host here: %(hosts)s."),
    _l("Not a host of job %(job)s: %(hosts)s."),
    _l("Job %(job)s has no host that is %(states)s."),
    _l("Job %(job)s is not done on %(hosts)s; wait for it, or cancel it."),
    _l("Module %(module)s is never repeated by itself, so its hosts can't be tried again."),
    _l("Pausing or resuming this job needs the right to run it."),
    _l("Its module reaches the hosts by itself, so it can't be paused."),
    _l("Paused by %(user)s."),
    _l("Waits for a go-ahead after the canary."),
    _l("Waits for a go-ahead after batch %(batch)s."),
    _l("Batch %(next)s of %(all)s starts when the canary ends."),
    _l("Batch %(next)s of %(all)s starts when batch %(batch)s ends."),
    _l("Batch %(next)s of %(all)s starts at %(time)s UTC."),
    _l("Stopped: nobody gave the go-ahead within %(time)s."),
    _l("Stopped: %(user)s paused it, and nobody resumed it within %(time)s."),
    _l("Stopped: a canary ended %(state)s."),
    _l("Stopped after 1 failure (limit %(limit)s)."),
    _l("Stopped after %(count)s failures (limit %(limit)s)."),
    _l("No worker is running."),
    _l("No worker on machine %(machine)s is running."),
    _l("No worker on any of the machines %(machines)s is running."),
    _l("The worker on machine %(machines)s is busy."),
    _l("All %(number)s workers on machine %(machines)s are busy."),
    _l(
        "No machine reaches all of these hosts: %(hosts)s. Run a job on those of one machine,"
        " or let their connections be served by one in common (omctl connection set NAME --machine MACHINE)."
    ),
    _l("%(name)s is served by %(machines)s; it can't be asked from %(machine)s, a job over it can."),
    _l("'%(name)s' is no name of a machine: 1 to 64 letters, digits, dots, hyphens and underscores."),
    _l("A connection names %(number)s machines at most."),
    _l("The worker is busy; 1 job is before it."),
    _l("The worker is busy; %(ahead)s jobs are before it."),
    _l("All %(number)s workers are busy; 1 job is before it."),
    _l("All %(number)s workers are busy; %(ahead)s jobs are before it."),
    _l("Its worker has not answered since %(time)s UTC; another one takes it up."),
    _l("Lock %(lock)s is held by job %(job)s (%(user)s, since %(time)s UTC)."),
    _l("Host %(host)s is locked by job %(job)s (%(user)s, since %(time)s UTC)."),
    _l("Lock %(lock)s is held by job %(job)s."),
    _l("Host is locked by job %(job)s."),
    _l("Host %(host)s is locked by job %(job)s."),
    _l("Lock %(lock)s is for job %(job)s first, which waits for it too."),
    _l("Host %(host)s is for job %(job)s first, which waits for it too."),
    _l("%(user)s already runs %(number)s jobs, the most allowed."),
    _l("%(number)s jobs run already, the most allowed."),
    _l("Retired, so nothing runs there: %(hosts)s."),
    _l("Named twice: %(hosts)s."),
    _l("%(address)s is no address of %(host)s; it has %(known)s."),
    _l('Module "Mid_%(module)s" does not exist, Please add it'),
    _l("%(user)s may not run %(module)s on %(hosts)s."),
    _l("%(user)s is a %(role)s here; this needs the role %(needed)s."),
    _l("Cancelling this job needs the right to run it."),
    _l("Nobody is logged in."),
    _l("The user name or the password is wrong."),
    _l("The session is over; log in again."),
    _l("Too many failed logins; try again in %(seconds)s seconds."),
    _l("A password has %(least)s to %(most)s characters."),
    _l("That password is known to the world; choose another one."),
    _l("A password must not be made of the user's name."),
    _l('The parameter "%(name)s" is required.'),
    _l('The parameter "%(name)s" must be a whole number from %(low)s to %(high)s, not %(given)s.'),
    _l('The parameter "%(name)s" must be a number from %(low)s to %(high)s, not %(given)s.'),
    _l('The parameter "%(name)s" must be one of: %(choices)s, not %(given)s.'),
    _l('The parameter "%(name)s" must be a time of day like 03:30, not %(given)s.'),
    _l('"%(name)s" is not a parameter of this module; it takes none.'),
    _l('"%(name)s" is not a parameter of this module; it takes %(names)s.'),
    _l("Mid_%(module)s.py, line %(line)s: %(reason)s"),
    _l("module %(module)s on 1 host: %(host)s; %(params)s"),
    _l("module %(module)s on %(count)s hosts: %(hosts)s; %(params)s"),
    _l("role %(role)s, service user %(user)s"),
    _l("role %(role)s"),
    _l("connection %(connection)s, id there %(id)s"),
    _l("state %(state)s, connection %(connection)s"),
    _l("%(count)s modules added"),
    _l("There is no connection '%(name)s'."),
    _l("There is no host '%(name)s'."),
    _l("There is a connection '%(name)s' already."),
    _l("There is a host '%(name)s' already."),
    _l("1 host is reached over %(name)s; take this way from them first."),
    _l("%(count)s hosts are reached over %(name)s; take this way from them first."),
    _l("'%(address)s' is not an IP address."),
    _l("'%(name)s' is not a %(what)s name: 1 to %(most)s printable characters."),
    _l("A %(what)s name must not contain any of %(refused)s."),
    _l("A category needs an application, and vice versa."),
    _l("Row %(row)s has the same %(what)s; upper and lower case count as one."),
    _l("Another row is about the same host."),
    _l("Its name and its id belong to different hosts here: %(hosts)s."),
    _l("%(host)s is known as %(known)s on %(connection)s, not as %(other)s."),
    _l("The line has more cells than the first line has names."),
    _l("The file is neither UTF-8 nor GBK text."),
    _l("The file is empty."),
    _l("%(added)s added, %(changed)s changed: %(hosts)s"),
    _l("this machine"),
)

_PLACE = re.compile(r"%\((\w+)\)s")


def retold(text: str) -> str:
    """A sentence of the master in the person's language, as far as it is known here."""
    if not chinese():
        return text
    for sentence in SENTENCES:
        found = _pattern(sentence).fullmatch(text)
        if found:
            return gettext(sentence, **found.groupdict())
    return text


def own_words(refused: Refused) -> str:
    """What the master itself says about *refused*, beyond the sentence for its code."""
    said = str(refused.details.get("reason") or refused.text)
    if chinese() and retold(refused.text) != refused.text:
        return retold(refused.text)
    return said


def audit_detail(text: str) -> str:
    """The detail of an audit row: of a refusal, the code and the master's words stand in it."""
    code, _, said = text.partition(": ")
    if not chinese() or code not in ERRORS:
        return retold(text)
    told = retold(said)
    return told if told != said else f"{error_sentence(code)}{said}"


@lru_cache
def _pattern(sentence: str) -> re.Pattern[str]:
    pieces = _PLACE.split(sentence)
    literal = [re.escape(piece) for piece in pieces[::2]]
    places = [f"(?P<{name}>.+?)" for name in pieces[1::2]]
    return re.compile("".join(map("".join, zip_longest(literal, places, fillvalue=""))), re.DOTALL)
