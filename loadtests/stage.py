"""Locust's side of a scenario: options, the crew's process, measurements, the verdict's exit code.

A locustfile calls :func:`install` once. Then Locust, however it is started, sets a scene when a
test starts, shows the sockets' measurements beside its own, waits for the verdict when the test has
stopped, and exits with 1 if anything was not explained (with 2 if the scenario could not run).
"""

import logging
import sys
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import gevent
import msgspec
from gevent import subprocess
from gevent.event import AsyncResult
from gevent.lock import RLock
from locust import User, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtests.crew import Answer, Demand, Measured
from loadtests.outcome import Outcome, Result, StatisticsRow, show
from loadtests.processes import child_environment
from loadtests.scene import Scene, Wishes
from loadtests.verdict import CustomersSaw

__all__ = ["Stage", "StageError", "install", "stage_of"]

TROUBLE_MAX = 50
OPEN_S = 240.0
DEVICE_S = 60.0
VERDICT_MORE_S = 120.0
"""The crew's answer may take so much longer than everything had time to settle."""

log = logging.getLogger("doorstep")

OPTIONS: tuple[tuple[str, type, Any, str], ...] = (
    ("--data", str, "", "Data folder of the running service at --host: tokens are made from it."),
    ("--token", str, "", "Token of operations, where there is no data folder."),
    ("--channel-token", str, "", "Token of a channel for the load test alone, likewise."),
    ("--stores", int, 4, "Stores, each with a tablet."),
    ("--riders", int, 8, "Riders, each with a phone."),
    ("--quota", int, 100, "Units of each campaign, over all stores."),
    ("--own-shard", int, 0, "Shard that the campaigns have for themselves, from 1; 0: none."),
    ("--countdown-seconds", float, 5.0, "From the start of the test to that of its campaigns."),
    ("--sale-seconds", float, 40.0, "How long campaigns last."),
    ("--pay-seconds", float, 10.0, "Unpaid orders are given up after so long."),
    ("--settle-seconds", float, 120.0, "Everything must be final so long after the last customer."),
    ("--result", str, "", "Write verdict and statistics to this file, as JSON."),
)

_stages: dict[int, "Stage"] = {}


class StageError(Exception):
    """The scenario cannot go on; the text says why."""


class Stage:
    """One per Locust process. Greenlet-safe."""

    def __init__(self, scenario: str, environment: Environment) -> None:
        self.scenario = scenario
        self.customers = CustomersSaw()
        """What the customers of this run were told; they write into it."""
        self.shared: dict[str, Any] = {}
        """What customers tell each other, by name; empty at each start."""
        self.outcome: Outcome | None = None
        self._environment = environment
        self._scene: Scene | None = None
        self._wishes: Wishes | None = None
        self._begun = False
        self._crew: subprocess.Popen | None = None
        self._ids = count(1)
        self._numbers = count()
        self._devices: Counter[str] = Counter()
        self._waiting: dict[int, AsyncResult] = {}
        self._writing = RLock()
        self._verdict: gevent.Greenlet | None = None
        self._error = ""
        self._worst = 0
        """Exit code of the worst run so far: the page may have had several."""
        self._quitting = self._has_quit = False

    @property
    def scene(self) -> Scene:
        """What is sold where. Raises :class:`StageError` before a test has started."""
        if self._scene is None:
            raise StageError("There is no scene before the test has started.")
        return self._scene

    def number(self) -> int:
        """A number that nobody else in this process has."""
        return next(self._numbers)

    def device(self, what: str) -> bool:
        """Switch the next ``tablet`` or ``rider`` on; False when there are no more of them."""
        number = self._devices[what]
        places = self.scene.stores if what == "tablet" else self.scene.riders
        if number >= len(places):
            return False
        self._devices[what] += 1
        self.call(Demand(id=0, do=what, number=number), DEVICE_S)
        return True

    def trouble(self, text: str) -> None:
        """Something in the load test itself went wrong: no verdict can be good."""
        if len(self.customers.trouble) < TROUBLE_MAX:
            self.customers.trouble.append(text)

    def open(self) -> None:
        """Have the crew set a scene, the service first if it has none; nothing to do if the scene
        that is set is the one that is wished for. Raises :class:`StageError`."""
        wishes = _wishes(self.scenario, self._environment.host, self._environment.parsed_options)
        if self._scene is not None and wishes == self._wishes:
            return
        self._scene, self._wishes = None, wishes
        self._scene = self.call(Demand(id=0, do="open", wishes=wishes), OPEN_S).scene
        log.info("the service is at %s", self.scene.url)

    def call(self, demand: Demand, timeout_s: float) -> Answer:
        """One demand to the crew, from a greenlet. Raises :class:`StageError`."""
        demand.id = next(self._ids)
        answered = self._waiting[demand.id] = AsyncResult()
        crew = self._started()
        with self._writing:
            crew.stdin.write(msgspec.json.encode(demand) + b"\n")
            crew.stdin.flush()
        try:
            answer: Answer = answered.get(timeout=timeout_s)
        except gevent.Timeout:
            raise StageError(f"{demand.do} took more than {timeout_s:.0f} s.") from None
        finally:
            self._waiting.pop(demand.id, None)
        if answer.error:
            raise StageError(f"{demand.do}: {answer.error}")
        return answer

    # --- What Locust's events do

    def starts(self) -> None:
        """A test starts: a fresh scene, and its campaigns."""
        self.outcome, self._error = None, ""  # the page shows no old verdict for a new run
        self._wait_for_verdict()
        self.outcome, self._error = None, ""
        self._begun = False
        try:
            self.open()
            self._scene = self.call(Demand(id=0, do="begin"), OPEN_S).scene
        except StageError as error:
            self.fail(str(error))
            raise
        except gevent.GreenletExit:
            self.fail("The run was over before its campaigns were open: give it more time.")
            raise
        self._begun = True
        self.customers, self.shared, self._devices = CustomersSaw(), {}, Counter()
        for user_class in self._environment.user_classes:
            user_class.host = self.scene.url

    def stopped(self) -> None:
        """A test has stopped: the verdict takes its time, the page does not wait for it."""
        if self._begun and self._verdict is None:
            self._begun = False
            self._verdict = gevent.spawn(self._judge)

    def quits(self) -> None:
        """Locust ends: wait for the verdict, end the crew, set the exit code. A signal may make
        Locust say so twice."""
        if self._quitting:
            return
        self._quitting = True
        runner = self._environment.runner
        if runner is not None and runner.state not in ("ready", "stopped"):
            runner.stop()
        self.stopped()  # if Locust had no time to say so
        self._wait_for_verdict()
        if self._crew is not None:
            self._crew.stdin.close()
            self._crew.wait()
        result = self.result()
        self._environment.process_exit_code = max(result.exit_code, self._worst)
        path = getattr(self._environment.parsed_options, "result", "")
        if path:
            Path(path).write_bytes(msgspec.json.encode(result))

    def has_quit(self) -> None:
        """The last word, behind Locust's tables."""
        if self._has_quit:
            return
        self._has_quit = True
        show(self.result())

    def page(self) -> tuple[bytes, int, dict[str, str]]:
        """The last run's result, for the web page's ``/verdict``."""
        return msgspec.json.encode(self.result()), 200, {"Content-Type": "application/json"}

    def result(self) -> Result:
        """The last run's verdict, and the statistics so far."""
        rows = [
            StatisticsRow(
                row.method, row.name, row.num_requests, row.num_failures,
                round(row.total_rps, 1), row.median_response_time,
                row.get_response_time_percentile(0.99), round(row.max_response_time, 1),
            )
            for row in sorted(self._environment.stats.entries.values(), key=lambda row: row.name)
        ]  # fmt: skip
        return Result(self.scenario, self.outcome, self._error, rows)

    def _judge(self) -> None:
        log.info("the customers have left; waiting until everything is final")
        settle_s = float(getattr(self._environment.parsed_options, "settle_seconds", 120.0))
        demand = Demand(id=0, do="close", customers=self.customers)
        try:
            self.outcome = self.call(demand, settle_s + VERDICT_MORE_S).outcome
        except StageError as error:
            self.fail(str(error))
        self._scene = None
        self._worst = max(self._worst, self.result().exit_code)
        if self._environment.web_ui is not None:
            show(self.result())
            if not self._quitting:
                self._open_early()

    def _open_early(self) -> None:
        """The next run's scene: setting it takes time that would be taken off that run's."""
        try:
            self.open()
        except StageError as error:
            log.warning("%s", error)  # the next start says so again

    def _wait_for_verdict(self) -> None:
        if self._verdict is not None:
            self._verdict.join()
            self._verdict = None

    def fail(self, text: str) -> None:
        """There will be no verdict on this run."""
        self._error = text
        log.error("%s", text)

    # --- The crew's process

    def _started(self) -> Any:
        if self._crew is None:
            self._crew = subprocess.Popen(
                [sys.executable, "-m", "loadtests.crew"], env=child_environment(),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
            gevent.spawn(self._listen, self._crew)
        return self._crew

    def _listen(self, crew: Any) -> None:
        decode = msgspec.json.Decoder(Answer).decode
        for line in iter(crew.stdout.readline, b""):
            answer = decode(line)
            for one in answer.measured:
                self._count(one)
            waiting = self._waiting.get(answer.id)
            if waiting is not None:
                waiting.set(answer)
        for waiting in list(self._waiting.values()):
            waiting.set(Answer(error="the crew's process ended: see standard error"))

    def _count(self, one: Measured) -> None:
        hooks: Any = self._environment.events
        hooks.request.fire(
            request_type=one.kind, name=one.name, response_time=one.ms, response_length=0,
            exception=StageError(one.error) if one.error else None, context={},
        )  # fmt: skip


def stage_of(environment: Environment) -> Stage:
    """The stage of this Locust."""
    return _stages[id(environment)]


def install(scenario: str, *, tablets: type[User], riders: type[User]) -> None:
    """Makes a locustfile a scenario. Of ``tablets`` there is one per store, of ``riders`` one per
    rider, whatever the number of users; all others are customers."""

    hooks: Any = events

    @hooks.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
    def add_options(parser: LocustArgumentParser, **_: Any) -> None:
        for flag, kind, default, text in OPTIONS:
            more: dict[str, Any] = {"is_secret": True} if "token" in flag else {}
            name = flag.removeprefix("--").replace("-", "_").upper()
            parser.add_argument(
                flag, type=kind, default=default, help=text,
                env_var=f"DOORSTEP_LOADTEST_{name}", include_in_web_ui=flag != "--result", **more,
            )  # fmt: skip

    @hooks.init.add_listener  # type: ignore[untyped-decorator]
    def set_stage(environment: Environment, **_: Any) -> None:
        if isinstance(environment.runner, MasterRunner | WorkerRunner):
            log.error("a scenario runs in one Locust process: its verdict needs all its customers")
            sys.exit(2)
        options = environment.parsed_options
        stage = _stages[id(environment)] = Stage(scenario, environment)
        tablets.fixed_count = int(getattr(options, "stores", 0))
        riders.fixed_count = int(getattr(options, "riders", 0))
        _listen_to(environment, stage)
        # Starting the service takes its time, which is not the test's.
        try:
            stage.open()
        except StageError as error:
            stage.fail(str(error))
            if environment.web_ui is None:
                stage.quits()
                stage.has_quit()
                sys.exit(2)


def _listen_to(environment: Environment, stage: Stage) -> None:
    def error_in_user(user_instance: User, exception: Exception, **_: Any) -> None:
        stage.trouble(f"{type(user_instance).__name__}: {exception!r}")

    hooks: Any = environment.events
    hooks.test_start.add_listener(lambda **_: stage.starts())
    hooks.test_stop.add_listener(lambda **_: stage.stopped())
    hooks.user_error.add_listener(error_in_user)
    hooks.quitting.add_listener(lambda **_: stage.quits())
    hooks.quit.add_listener(lambda **_: stage.has_quit())
    page = environment.web_ui
    if page is not None and page.app is not None:
        page.app.add_url_rule("/verdict", view_func=stage.page)


def _wishes(scenario: str, host: str | None, options: Any) -> Wishes:
    return Wishes(
        scenario=scenario, url=host or options.host or "", data=options.data, token=options.token,
        channel_token=options.channel_token, stores=options.stores, riders=options.riders,
        quota=options.quota, own_shard=options.own_shard, countdown_s=options.countdown_seconds,
        sale_s=options.sale_seconds, pay_s=options.pay_seconds, settle_s=options.settle_seconds,
    )  # fmt: skip
