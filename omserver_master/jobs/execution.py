"""The run of one job: module code in a child describes work, engines do it, every host gets one ending.

One thread owns the :class:`Board` and reads one inbox. Into the inbox go the child's messages, the hosts'
answers, what a cancel proved, and a wake-up when the database has news. Endings leave through the
:class:`Recorder`, which writes them to the database under this worker's fence.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from omserver_master.contract.work import ANSWER_STATES, Answer, Work, work_from_wire
from omserver_master.errors import CancelAsked, PauseAsked
from omserver_master.failpoints import reach
from omserver_master.store.results import UNCERTAIN

from .board import BETWEEN_STEPS, LONGEST_REASON, MARGIN, Board, Ending, JobHost, Seat, Step
from .dispatch import Answered, Dispatched, Group, Inbox, NotSent, Proved, Stopped, cancel, digest, send
from .fallback import Fallback
from .notice import Notices
from .outbox import Outbox
from .ports import Code, Recorder, Roads
from .revival import Begin, Revival
from .rollout import Rollout
from .states import FINAL_HOST, OPEN_HOST, job_end
from .takeover import CHANGED, LEAST, Takeover
from .verify import Checker, Verified

log = logging.getLogger(__name__)

#: Seconds between two looks at the database for a cancel, when no bell rang.
LOOK_FOR_NEWS = 2.0
#: Seconds between two looks whether the ways are still up, and the like, which ask nobody.
LOOK_AROUND = 1.0
#: Seconds that a cancel may take until what is still open is called unknown.
CANCEL_LIMIT = 20.0
#: Seconds that a host's answer may come after the engine could not prove that its work was stopped.
ANSWER_GRACE = 3.0
#: Seconds that a module's ``after`` may take.
AFTER_LIMIT = 30.0
TOO_LATE = "Its time to start was over."
NOT_VERIFIED = "The cancel came before it was verified."
#: States of hosts that were given work.
BEGUN = FINAL_HOST - {"not_started"}


class Wake:
    """Put into the inbox to make the run look at the database now."""


class ChildSaid:
    """One message of the child process."""

    def __init__(self, message: Mapping[str, Any]) -> None:
        self.message = message


class JobRun:
    """Runs one claimed job to its end.

    Args:
        hosts: the hosts of the job, or the seats where another worker left them.
        timeout: seconds that a host may take for all of its work.
        repeat: what doing it again means: "read_only", "idempotent" or "once".
        direct: whether the module's code reaches the hosts by itself.
        start_by: the moment by *clock* after which nothing is sent for the first time any more.
        rollout: how it goes over its hosts, started; None: over all at once.
        again: begins the code anew after its process has died.
        notices: tells somebody when it is paused.
        clock: the time in unix seconds, the same on all machines.
    """

    def __init__(
        self,
        hosts: Iterable[JobHost | Seat],
        code: Code,
        roads: Roads,
        recorder: Recorder,
        *,
        timeout: float,
        start_by: float,
        repeat: str = "once",
        direct: bool = False,
        rollout: Rollout | None = None,
        again: Begin | None = None,
        notices: Notices | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.inbox: Inbox = queue.SimpleQueue()
        self.board = Board.of(hosts)
        self._code = code
        self._recorder = recorder
        self._timeout = timeout
        self._direct_code = direct
        self._start_by = start_by
        self._clock = clock
        self._deadlines: dict[int, float] = {}
        self._flying: dict[str, Group] = {}
        self._rollout = rollout or Rollout(None, ())
        self._must_stand = rollout is not None
        self._notices = notices
        self._outbox = Outbox(roads, self._explain)
        self._checker = Checker.of(self._rollout.options, self.inbox.put)
        self._verifying: dict[int, Ending] = {}
        self._fallback = Fallback(roads, repeat, self._move, self.inbox.put)
        self._takeover = Takeover(roads, repeat, self._again, self._end, self.inbox.put)
        self._revival = Revival(again if not direct else None)
        self._look_for_news = 0.0
        self._cancel_until: float | None = None
        self._stopping = self._interrupted = False
        self._note = ""
        self._owed: set[int] = set()
        self._unproved: dict[int, float] = {}
        self._overdue: dict[int, Answer] = {}
        self._open = len(self.board.open())
        self._begun = any(s.sent or s.state in BEGUN for s in self.board.seats.values())
        if not self._begun:  # who was not at work yet was told by the claim how things stand
            self._look_for_news = time.monotonic() + LOOK_FOR_NEWS
        self._left = {seat.host.id for seat in self.board.seats.values() if seat.left_at is not None}
        self._code_ended = False

    @property
    def paused(self) -> bool:
        """Whether it waits for somebody to resume it. From any thread."""
        return self._rollout.state == "paused"

    @property
    def uncertain(self) -> bool:
        """Whether a host ended, and nobody knows well how. From any thread, when it is over."""
        return any(seat.sent and seat.state in UNCERTAIN for seat in self.board.seats.values())

    def wake(self) -> None:
        """Make the run look at the database now. From any thread."""
        self.inbox.put(Wake())

    def stop(self) -> None:
        """The worker is being stopped: let another one take the job up. From any thread."""
        self._stopping = True
        self.wake()

    def run(self) -> None:
        """Take part until every host has an ending and the job its end, or the worker is stopped.

        Raises:
            LeaseLost: another worker has taken the job over; nothing more was written.
        """
        if self._is_too_late() and not self._begun:
            self._end_code()
            self._end_open("not_started", TOO_LATE)
        elif self._direct_code:
            self._hand_over_to_code()
        elif self._must_stand:
            self._take_stand()
        try:
            self._take_turns()
        finally:
            if self._checker is not None:
                self._checker.close()

    def _take_turns(self) -> None:
        while self._open:
            self._take_one()
            if self._stopping and not self._direct_code:
                self._recorder.release("Its worker was stopped; the next one takes it up.")
                return
            self._tick()
            self._recorder.flush()
        self._let_code_end()
        self._finish()

    # -- one turn of the loop

    def _take_one(self) -> None:
        try:
            event = self.inbox.get(timeout=self._patience())
        except queue.Empty:
            return
        self._handle(event)
        while not self.inbox.empty():
            self._handle(self.inbox.get_nowait())

    def _patience(self) -> float:
        """Seconds until there is something to do even if nothing comes in."""
        if len(self._outbox) or self._cancel_until or not self._open:
            return 0.05
        if self._begun and len(self.board.seats) == 1 and not self._must_stand:
            return max(0.05, min(LOOK_AROUND, self._look_for_news - time.monotonic()))
        return 0.25

    def _handle(self, event: object) -> None:
        match event:
            case Answered():
                self._answered(self.board.seats[event.host_id], event)
            case ChildSaid():
                self._child_said(event.message)
            case NotSent():
                self._not_sent(event)
            case Stopped():
                self._stopped(self.board.seats[event.host_id], event)
            case Proved():
                self._proved(self.board.seats[event.host_id], event)
            case Verified():
                self._verified(self.board.seats[event.host_id], event.why_not)
            case Wake():
                self._look_for_news = 0.0

    def _tick(self) -> None:
        now = time.monotonic()
        if self._stopping:
            self._give_up_for_stop()
            return
        if now >= self._look_for_news:
            self._look_for_news = now + LOOK_FOR_NEWS
            news = self._recorder.news() if self._cancel_until is None else None
            if news is not None and news.cancel:
                self._cancel()
            elif news is not None and not self._direct_code:
                self._heed_pause(news.paused_by)
        if self._cancel_until is not None and now >= self._cancel_until:
            self._give_up_proving()
        for host_id in [id_ for id_, until in self._unproved.items() if until <= now]:
            del self._unproved[host_id]
            if self.board.seats[host_id].answer is None:
                self._end(self.board.seats[host_id], Ending.proved("unknown"))
        if self._cancel_until is None:
            self._fallback.look(self._flying.values())
            self._go_on()
        self._dispatch_waiting()

    def _let_code_end(self) -> None:
        """All hosts have their ends: let the module's ``after`` see them, and keep what it notes."""
        if self._code_ended or self._stopping or self._cancel_until is not None:
            return
        for host_id in list(self._owed):
            seat = self.board.seats[host_id]
            state = seat.state if seat.state in ANSWER_STATES else "not_started"
            self._hand_answer(seat, Answer(state, reason="It ended without being asked."))
        until = time.monotonic() + min(AFTER_LIMIT, self._timeout)
        while not self._code_ended and not self._stopping and time.monotonic() < until:
            self._take_one()
            if not self._code_ended:  # else the last endings and the job's own share a commit
                self._recorder.flush()

    def _hand_over_to_code(self) -> None:
        """The module's code acts by itself from now on: every host may be touched at any moment."""
        for seat in self.board.open():
            seat.state, seat.handle, seat.sent = "dispatched", "direct", True
        self._recorder.dispatched(Dispatched(None, "direct", dict.fromkeys(self.board.seats, "")))

    # -- what module code says

    def _child_said(self, message: Mapping[str, Any]) -> None:
        try:
            self._heed(message)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            log.warning("a module's code said %.200r: %r", message, error)
            self._end_code()
            self._code_over("The module's code said something that is not understood.")

    def _heed(self, message: Mapping[str, Any]) -> None:
        match message.get("say"):
            case "work":
                self._take_work(message["items"])
            case "end":
                self._ended_by_code(message)
            case "direct":
                self._direct(message["results"])
            case "broken" | "crashed":
                self._crashed(message)
            case "note":
                self._note = str(message["text"])[:LONGEST_REASON]
            case "done":
                self._code_ended = True
                self._code_over("The module ended without saying how this host ended.")

    def _take_work(self, items: Iterable[Mapping[str, Any]]) -> None:
        for item in items:
            seat = self.board.named(str(item["host"]))
            if seat is None:
                continue
            self._owed.add(seat.host.id)
            if seat.state not in OPEN_HOST:
                continue
            if seat.state == "dispatched" and seat.answer is None and seat.handle in self._flying:
                self._stands_again(seat, item)
                continue
            if seat.done is not None and item.get("seq") == seat.done.number:
                self._answered_again(seat, item)
                continue
            seat.step = int(item.get("seq", 1))
            if seat.left_at is not None:
                self._takeover.put(seat, work_from_wire(item["work"]))
            elif self._cancel_until is not None:
                self._end(seat, Ending.of("cancelled", BETWEEN_STEPS, seat.answer))
            else:
                self._put(seat, work_from_wire(item["work"]))
        self._flying |= self._takeover.send(time.monotonic() + LEAST)

    def _stands_again(self, seat: Seat, item: Mapping[str, Any]) -> None:
        """Code that was begun anew asks for what *seat* is at work on already; anything else is no use."""
        asked = digest(work_from_wire(item["work"]))
        if (int(item.get("seq", 1)), asked) != (seat.step, self._flying[seat.handle].digest):
            self._end(seat, Ending("unknown", CHANGED))

    def _answered_again(self, seat: Seat, item: Mapping[str, Any]) -> None:
        """Code that was begun anew asks for what *seat* has answered while it began: it was handed that."""
        self._owed.discard(seat.host.id)
        if seat.done is not None and digest(work_from_wire(item["work"])) != seat.done.work:
            self._end(seat, Ending("unknown", CHANGED))

    def _ended_by_code(self, message: Mapping[str, Any]) -> None:
        seat = self.board.named(str(message["host"]))
        if seat is None or seat.host.id in self._verifying:
            return
        end = message["end"]
        ending = Ending.of(end["state"], end.get("reason", ""), seat.answer, end.get("text", ""))
        if self._checker is None or ending.state != "ok" or self._cancel_until is not None:
            self._end(seat, ending)
        elif seat.state in OPEN_HOST:
            self._verifying[seat.host.id] = ending
            self._checker.check(seat.host)

    def _crashed(self, message: Mapping[str, Any]) -> None:
        where = f", line {message['line']}" if message.get("line") else ""
        reason = f"The module's code failed{where}: {message['reason']}"
        seat = self.board.named(str(message.get("host", "")))
        if seat is not None:
            self._end_unfinished(seat, reason)
        elif not message.get("died") or not self._revive():
            self._code_ended = True
            self._code_over(reason)

    def _revive(self) -> bool:
        """Begin anew the code whose process has died; whether it goes on."""
        if self._code_ended or self._stopping:
            return False
        self._recorder.flush(force=True)
        revived = self._revival.revive(self.board)
        if revived:
            self._owed.clear()
        return revived

    def _direct(self, results: Iterable[Mapping[str, Any]]) -> None:
        for result in results:
            seat = self.board.named(str(result["host"]))
            if seat is not None:
                self._end(seat, Ending.told(result))

    def _end_code(self) -> None:
        self._code_ended = True
        self._code.kill()

    def _code_over(self, reason: str) -> None:
        for seat in self.board.open():
            at_work = seat.sent and seat.answer is None
            if at_work and self._cancel_until is not None and not self._direct_code:
                continue  # what the cancel proves about this host comes as Stopped
            if seat.host.id not in self._verifying:
                self._end_unfinished(seat, reason)

    def _end_unfinished(self, seat: Seat, reason: str) -> None:
        """End a host that the module's code left alone: failed if it had answered, else what is known."""
        if seat.answer is not None:
            self._end(seat, Ending.of("failed", reason, seat.answer))
        elif seat.sent:
            self._end(seat, Ending("unknown", reason))
        else:
            self._end(seat, Ending("not_started", reason))

    # -- work to engines and back

    def _dispatch_waiting(self) -> None:
        if self._is_too_late():
            # What was to begin, or to go on over a way that is down, by a moment that is over, ends.
            reason = f"{TOO_LATE} {self._outbox.reason}".strip()
            dropped = self._outbox.drop(
                lambda seat: not seat.sent or bool(self._outbox.reason), held=not self._begun
            )
            for seat in dropped:
                self._end_unfinished(seat, reason)
        for group in self._outbox.take():
            self._send(group)

    def _is_too_late(self) -> bool:
        now = self._clock()
        return now >= self._start_by and (not self._begun or now >= self._rollout.start_by)

    def _send(self, group: Group) -> None:
        try:
            group.committed = self._recorder.dispatched(
                replace(group.fixed(), reason=self._line(self._outbox.reason))
            )
        except CancelAsked:  # the next look at the database says so too, and ends what was never sent
            self._look_for_news = 0.0
            for seat in group.seats:
                if seat.sent:
                    self._end(seat, seat.cut_short())
            return
        except PauseAsked:  # as above; then those that have not begun are held back
            self._look_for_news = 0.0
            for seat in group.seats:
                self._outbox.put(seat, group.work)
            return
        for seat in group.seats:
            seat.state, seat.handle, seat.connection_id = "dispatched", group.handle, group.connection_id
            self._deadlines.setdefault(seat.host.id, time.monotonic() + self._timeout + MARGIN)
        for seat in group.seats:
            seat.sent, seat.answer, seat.done = True, None, None
        self._begun = True
        self._flying[group.handle] = group
        send(group, min(self._deadlines[host_id] for host_id in group.host_ids), self.inbox.put)

    def _not_sent(self, event: NotSent) -> None:
        seats = [seat for id_ in event.host_ids if (seat := self.board.seats[id_]).handle == event.handle]
        untouched = [seat for seat in seats if not seat.tried]
        if untouched:
            self._recorder.not_sent([seat.host.id for seat in untouched])
        for seat in untouched:
            seat.state, seat.sent = "pending", seat.step > 1
        for seat in seats:
            seat.handle = ""
            self._deadlines.pop(seat.host.id, None)
            if self._cancel_until is None:
                self._put(seat, event.work)
            else:
                self._end(seat, seat.cut_short())

    def _put(self, seat: Seat, work: Work) -> None:
        """Let work begin, or go on, as soon as the roll-out and the ways allow it."""
        if seat.sent or self._rollout.admits(seat.host.id):
            self._outbox.put(seat, work)
        elif self._rollout.progress.stopped:
            self._end(seat, Ending("not_started", self._rollout.progress.stopped))
        else:
            self._outbox.hold(seat, work)

    def _move(self, seat: Seat, group: Group, why: str) -> None:
        """The way of *seat* is down: let it take the next one."""
        log.info("host %s leaves %s: %s", seat.host.name, group.handle, why)
        seat.left[group.connection_id] = why
        seat.handle, seat.answer = "", None
        self._deadlines.pop(seat.host.id, None)
        self._outbox.put(seat, group.work)

    def _again(self, seat: Seat, work: Work) -> None:
        """The engine can't tell what became of the work, and doing it again does no harm."""
        seat.handle, seat.answer = "", None
        self._deadlines.pop(seat.host.id, None)
        self._outbox.put(seat, work)

    def _goes_on(self, seat: Seat, event: Answered) -> bool:
        """Whether *seat* tries again or elsewhere instead of taking this answer."""
        group = self._flying[event.handle]
        if seat.left_at is not None:
            return self._takeover.takes(seat, group, event.answer)
        return self._fallback.takes(seat, group, event.answer)

    def _answered(self, seat: Seat, event: Answered) -> None:
        if seat.state != "dispatched" or seat.handle != event.handle:
            return  # it had ended, or had left that way
        answer = event.answer
        reach("answer.taken")
        if self._cancel_until is None and self._goes_on(seat, event):
            return
        if self._cancel_until is not None and answer.state != "done":
            self._came_of_cancel(seat, answer)
            return
        if self._cancel_until is not None and answer.rc != 0:
            self._end(seat, Ending.of("cancelled", "Stopped by the cancel.", answer))
        elif answer.state == "done":
            seat.answer, seat.left_at, seat.tried = answer, None, ""
            asked = self._flying[event.handle].digest
            seat.done = Step(seat.step, asked, seat.connection_id, seat.handle, answer)
            self._hand_answer(seat, answer)
        else:
            self._end(seat, Ending.of(answer.state, answer.reason, answer))
            self._hand_answer(seat, answer)

    def _came_of_cancel(self, seat: Seat, answer: Answer) -> None:
        """The work gave no answer, in a cancel: what that proves about this host comes as `Stopped`.

        That its time was over is known even where the cancel proves nothing.
        """
        if answer.state == "timed_out":
            self._overdue[seat.host.id] = answer
        if seat.host.id in self._unproved:
            self._end_unproved(seat, "not_started" if answer.state == "not_started" else "unknown")

    def _end_unproved(self, seat: Seat, proof: str = "unknown") -> None:
        answer = self._overdue.get(seat.host.id)
        self._end(seat, Ending.of(answer.state, "", answer) if answer else Ending.proved(proof))

    def _hand_answer(self, seat: Seat, answer: Answer) -> None:
        self._owed.discard(seat.host.id)
        self._code.send({"do": "answer", "host": seat.host.name, "answer": answer.to_wire()})
        reach("answer.handed")

    # -- the roll-out

    def _take_stand(self, *, ask: bool = False) -> None:
        """Write down where the job stands in its roll-out."""
        rollout = self._rollout
        if rollout.progress.stopped:
            self._end_not_begun(rollout.progress.stopped)
        line = self._line(self._outbox.reason)
        self._recorder.stand(rollout.state, line, rollout.written(), ask=ask)
        if self._notices is not None:
            hosts = {"open": self._open, "ended": len(self.board.seats) - self._open}
            self._notices.stands(rollout.state, rollout.by, line, hosts)

    def _go_on(self) -> None:
        """Take the next batch, ask, wait or stop, if it is time to."""
        move = self._rollout.move(self._clock())
        if move is None:
            return
        reach("rollout.moved")
        self._take_stand(ask=move == "ask")
        if move == "begin":
            self._outbox.let_go(self._rollout.hosts)

    def _heed_pause(self, paused_by: str | None) -> None:
        now = self._clock()
        if paused_by is not None and self._rollout.pause(paused_by, now):
            self._outbox.hold_back()
            self._take_stand()
        elif paused_by is None and self._rollout.resume(now):
            self._take_stand()
            self._outbox.let_go(filter(self._rollout.admits, self._outbox.held))

    def _end_not_begun(self, reason: str) -> None:
        self._outbox.drop(lambda seat: not seat.sent, held=True)
        for seat in self.board.open():
            if not seat.sent:
                self._end(seat, Ending("not_started", reason))

    def _explain(self, reason: str) -> None:
        """The outbox waits for another thing than before."""
        if not self._rollout.paused:
            self._recorder.explain(self._line(reason))

    def _line(self, waits: str) -> str:
        """What the job waits for, where its outbox *waits* for something."""
        return self._rollout.line if self._rollout.paused else waits or self._rollout.line

    def _verified(self, seat: Seat, why_not: str) -> None:
        ending = self._verifying.pop(seat.host.id, None)
        if ending is not None:
            self._end(seat, replace(ending, state="failed", reason=why_not) if why_not else ending)

    # -- cancel and stop

    def _cancel(self) -> None:
        self._cancel_until = time.monotonic() + CANCEL_LIMIT
        self._recorder.cancelling()
        for seat in self._outbox.drop(lambda seat: seat.sent):
            self._end(seat, seat.cut_short())
        self._outbox.clear()
        for seat in self.board.open():
            if not seat.sent:
                self._end(seat, Ending("not_started", "Cancelled before anything was sent to it."))
        for host_id, ending in self._verifying.items():
            self._end(self.board.seats[host_id], replace(ending, reason=NOT_VERIFIED))
        at_work = [seat for seat in self.board.open() if seat.answer is None]
        groups = [self._flying[handle] for handle in {s.handle for s in at_work} if handle in self._flying]
        groups += self._takeover.groups(seat for seat in at_work if seat.handle not in self._flying)
        cancel(groups, self.inbox.put)
        if self._direct_code:
            self._end_code()
            self._end_open("unknown", "Its code was stopped; what it had done on this host is not known.")

    def _give_up_proving(self) -> None:
        for seat in self.board.open():
            if seat.answer is not None:
                self._end(seat, Ending.of("cancelled", BETWEEN_STEPS, seat.answer))
            elif seat.host.id in self._overdue:
                self._end_unproved(seat)
        self._end_open("unknown", "The cancel could not be proved in time; look on the host itself.")

    def _proved(self, seat: Seat, event: Proved) -> None:
        """The way of *seat* broke down, and its first try was to be stopped: go on elsewhere, or end."""
        if seat.state != "dispatched" or seat.handle != event.handle:
            return
        taken_up = seat.left_at is not None
        decide = self._takeover.proved if taken_up else self._fallback.may_move
        if self._cancel_until is None and decide(seat, self._flying[event.handle], event.proof):
            return
        self._end(seat, Ending.of(event.answer.state, event.answer.reason, event.answer))
        self._hand_answer(seat, event.answer)

    def _stopped(self, seat: Seat, event: Stopped) -> None:
        if seat.state != "dispatched" or seat.answer is not None or seat.handle != event.handle:
            return  # it had answered before it was told to stop
        if event.proof == "unknown" and seat.host.id in self._overdue:
            self._end_unproved(seat)
            return
        if event.proof == "unknown":  # it may have answered just before; that answer is under way
            self._unproved[seat.host.id] = time.monotonic() + ANSWER_GRACE
            return
        self._end(seat, Ending.proved(event.proof))

    def _give_up_for_stop(self) -> None:
        for seat in self.board.open():
            self._interrupted = True
            self._end_unfinished(seat, f"The worker was stopped meanwhile (handle {seat.handle or 'none'}).")

    # -- endings

    def _end_open(self, state: str, reason: str) -> None:
        for seat in self.board.open():
            self._end(seat, Ending(state, reason))

    def _end(self, seat: Seat, ending: Ending) -> None:
        if seat.state not in OPEN_HOST:
            return
        seat.state = ending.state
        self._open -= 1
        self._rollout.ended(seat.host.id, ending.state)
        self._recorder.ended(seat.host.id, ending)

    def _finish(self) -> None:
        cancelled = self._cancel_until is not None
        expired = self._is_too_late() and not self._begun
        counts = self.board.counts()
        lost = any(self.board.seats[host_id].state == "unknown" for host_id in self._left)
        interrupted = self._interrupted or lost
        state = job_end(counts, cancelled=cancelled, expired=expired, interrupted=interrupted)
        self._recorder.finish(state, f"{self._rollout.progress.stopped} {self._note}".strip())
