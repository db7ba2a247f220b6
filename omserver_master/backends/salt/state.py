"""Salt states as work for a host: a script that applies them there, with the minion's own configuration.

``state.apply`` as a job of its own would not do: nothing of its return is signed by the host, nothing ends
it when its time is over, and an output of any size comes back. So it is run as ``salt-call`` runs it, by the
same script as all other work.
"""

from __future__ import annotations

import json
from importlib.resources import files

from ...contract.enginework import State
from ...contract.work import Script


def _program() -> str:
    text = files(__package__).joinpath("stateonhost.py").read_text()
    return files(__package__).joinpath("state.sh").read_text().replace("PROGRAM\n", text, 1)


def as_script(work: State) -> Script:
    """The script that applies these states on a host. The pillar comes on its standard input."""
    asked = {
        "mods": list(work.sls),
        "pillar": dict(work.pillar),
        "test": work.test,
        "saltenv": work.saltenv,
    }
    return Script(_program(), stdin=json.dumps(asked), timeout=work.timeout, output=work.output)
