"""``omserver-funcd``: a minion."""

from __future__ import annotations

import threading

from .acl import Acls
from .config import MinionConfig
from .dispatch import Dispatcher
from .registry import is_wanted, load
from .server import MinionServer
from .subject import pem_to_der, subject_of
from .tls import Identity, server_context


class Minion:
    """One minion: its door and what is behind it. Made, it listens; started, it answers."""

    def __init__(self, config: MinionConfig, identity: Identity) -> None:
        """Raises OSError or ValueError for files that can't be used."""
        ca = subject_of(pem_to_der(identity.ca))
        acls = Acls(config.acl_folder, ca if config.ca_overrides else None)
        modules = load(config.module_folder, config.modules)
        self.dispatcher = Dispatcher(modules, acls, programs=is_wanted("omserver", config.modules))
        context = server_context(identity, config.profile)
        self.server = MinionServer((config.listen, config.port), context, self.dispatcher)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Answer, in a thread."""
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.2,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the door, and end what was started by name."""
        if self._thread is not None:
            self.server.shutdown()
            self._thread.join(10)
            self._thread = None
        self.server.server_close()
        self.dispatcher.close()
