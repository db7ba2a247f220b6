"""How the contract tests send work: every dispatch, whatever it is about, is held to the common promises."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from omserver_master.backends import Backend, Target
from omserver_master.contract.work import ANSWER_STATES, Answer, Work

#: Seconds that the last answer may be late: one for us, and what a busy machine needs.
GRACE = 1.0


def check(answers: Sequence[tuple[str, Answer]], hosts: Sequence[Target], late: float) -> dict[str, Answer]:
    """Each of *hosts* has exactly one answer of a form that we know, and the last was not too *late* (s)."""
    assert sorted(host for host, _ in answers) == sorted(host.id for host in hosts)
    assert late < GRACE, f"the last answer came {late:.1f} s after the deadline"
    for host_id, answer in answers:
        assert answer.state in ANSWER_STATES
        assert (answer.rc is None) == (answer.state != "done"), (host_id, answer)
        assert answer.state == "done" or answer.reason, (host_id, answer)
        assert answer.seconds >= 0
    return dict(answers)


def run(backend: Backend, work: Work, hosts: Sequence[Target], seconds: float = 40) -> dict[str, Answer]:
    """The answer of each host, by its id."""
    deadline = time.monotonic() + seconds
    answers = list(backend.run(work, hosts, backend.new_handle(), deadline))
    return check(answers, hosts, time.monotonic() - deadline)


def run_one(backend: Backend, work: Work, host: Target, seconds: float = 40) -> Answer:
    """The answer of *host*, which ran *work* to its end."""
    answer = run(backend, work, [host], seconds)[host.id]
    assert answer.state == "done", answer
    return answer


def reattach(
    backend: Backend, handle: str, work: Work, hosts: Sequence[Target], seconds: float = 30
) -> dict[str, Answer]:
    """The answer of each host to what was sent under *handle*."""
    deadline = time.monotonic() + seconds
    answers = list(backend.reattach(handle, work, hosts, deadline))
    return check(answers, hosts, time.monotonic() - deadline)


class Under:
    """A dispatch in a thread of its own: ``answers`` so far, and `wait` for them all."""

    def __init__(self, backend: Backend, work: Work, hosts: Sequence[Target], seconds: float = 60) -> None:
        self.handle = backend.new_handle()
        self.hosts = hosts
        self.answers: list[tuple[str, Answer]] = []
        self._error: BaseException | None = None
        self._late = 0.0
        self._deadline = time.monotonic() + seconds
        self._thread = threading.Thread(target=self._read, args=(backend, work), daemon=True)
        self._thread.start()

    @property
    def answered(self) -> set[str]:
        """The ids of the hosts whose answer is here."""
        return {host for host, _ in self.answers}

    def wait(self) -> dict[str, Answer]:
        """All answers, in time."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()) + 10)
        assert not self._thread.is_alive(), "the answers do not end with the deadline"
        if self._error is not None:
            raise self._error
        return check(self.answers, self.hosts, self._late)

    def _read(self, backend: Backend, work: Work) -> None:
        try:
            for answer in backend.run(work, self.hosts, self.handle, self._deadline):
                self.answers.append(answer)
        except BaseException as error:
            self._error = error
        self._late = time.monotonic() - self._deadline


def wait_until(condition: Callable[[], object], seconds: float = 40) -> None:
    """Wait until *condition* holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def together(*steps: Callable[[], object]) -> None:
    """Take all *steps* at once, each in its thread; the first that fails fails the test."""
    errors: list[BaseException] = []

    def take(step: Callable[[], object]) -> None:
        try:
            step()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=take, args=(step,), daemon=True) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(110)
        assert not thread.is_alive(), "a step did not end"
    if errors:
        raise errors[0]
