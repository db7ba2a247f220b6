"""The module's code of one job: a warm child, driven by one thread that takes turns with it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from omserver_master.registry.pool import Child, ChildPool

log = logging.getLogger(__name__)

Tell = Callable[[Mapping[str, Any]], None]
Orders = queue.SimpleQueue[Mapping[str, Any] | None]


class ModuleCode:
    """Sends orders to a child and tells what it says.

    Args:
        patience: seconds that the code may take for one step before it is killed.
    """

    def __init__(self, pool: ChildPool, patience: float) -> None:
        self._pool = pool
        self._patience = patience
        self._orders: Orders = queue.SimpleQueue()
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._killed = False

    def start(self, order: Mapping[str, Any], tell: Tell) -> None:
        """Begin with *order*; *tell* receives every message, at last ``done``, ``broken`` or ``crashed``.

        After that it may begin anew, in another child; orders for the one before are forgotten.
        """
        self._orders = queue.SimpleQueue()
        drive = (order, tell, self._orders)
        threading.Thread(target=self._drive, args=drive, name="module code", daemon=True).start()

    def send(self, order: Mapping[str, Any]) -> None:
        """Hand over an answer. From any thread; never waits."""
        self._orders.put(order)

    def kill(self) -> None:
        """End the code now, with everything that it started. From any thread."""
        with self._lock:
            self._killed = True
            if self._child is not None:
                self._child.stop()
        self._orders.put(None)

    def close(self) -> None:
        """Nothing more will be sent; code that is not done yet is ended."""
        self._orders.put(None)

    def _drive(self, order: Mapping[str, Any], tell: Tell, orders: Orders) -> None:
        try:
            with self._pool.child() as child:
                with self._lock:
                    if self._killed:
                        return
                    self._child = child
                self._take_turns(child, order, tell, orders)
                with self._lock:
                    if self._child is child:
                        self._child = None
        except Exception:  # the run must hear that its code is gone, whatever happened
            log.exception("driving a module's code failed")
            tell({"say": "crashed", "line": None, "reason": "Its process could not be driven; see the log."})

    def _take_turns(self, child: Child, order: Mapping[str, Any] | None, tell: Tell, orders: Orders) -> None:
        while order is not None:
            child.send(dict(order))
            while not orders.empty():
                # All answers that are there go together: hosts that yield together go out together.
                more = orders.get_nowait()
                if more is None:
                    return
                child.send(dict(more))
            for message in child.receive(self._patience):
                tell(message)
            if child.done:
                return
            order = orders.get()
