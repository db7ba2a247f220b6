"""Many minions, a process each, forked from one: ``python -m tests.func.crowd '{"name": "address"}' FOLDER``.

The folder holds ``NAME.conf`` of each. Says ``ready`` when all listen; ends with its parent's session.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from omserver_func.config import MinionConfig
from omserver_func.daemon import Minion


def main(names: list[str], folder: Path) -> None:
    """Fork one minion for each name, and wait for them."""
    children = []
    for name in names:
        config = MinionConfig.read(folder / f"{name}.conf", folder / "none.conf")
        minion = Minion(config, config.files(name))  # listens from here on
        child = os.fork()
        if child == 0:
            os.environ["LOGNAME"] = name
            minion.server.serve_forever()
            os._exit(0)
        minion.server.server_close()
        children.append(child)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main(list(json.loads(sys.argv[1])), Path(sys.argv[2]))
