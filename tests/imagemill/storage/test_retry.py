import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagemill.storage.retry import Pace, RequestFault, Retrier, Spent


def retrier(*, deadline=5.0, pause=0.001, pace=None, renew=lambda: None):
    return Retrier(deadline, pause, pace or Pace(8), renew)


class Script:
    """Answers by a list: a status is a fault, None a broken connection, anything else the answer."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.times = []

    def __call__(self):
        self.times.append(time.monotonic())
        answer = self.answers.pop(0)
        if answer is None or isinstance(answer, int):
            raise RequestFault(answer, "scripted")
        return answer


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, None])
def test_what_time_may_heal_is_repeated(status):
    script = Script(status, status, "answer")
    assert retrier().run(script) == "answer"
    assert len(script.times) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 409, 411, 412, 416, 501])
def test_what_repeating_does_not_change_fails_at_once(status):
    script = Script(status, "never")
    with pytest.raises(RequestFault) as error:
        retrier().run(script)
    assert error.value.status == status
    assert len(script.times) == 1


def test_refused_credentials_are_renewed_once():
    renewals = []
    script = Script(401, "answer")
    assert retrier(renew=lambda: renewals.append(1)).run(script) == "answer"
    with pytest.raises(RequestFault):
        retrier(renew=lambda: renewals.append(1)).run(Script(401, 401))
    assert len(renewals) == 2


def test_pauses_double_and_are_partly_chance():
    script = Script(503, 503, 503, 503, "answer")
    retrier(pause=0.02).run(script)
    pauses = [after - before for before, after in zip(script.times, script.times[1:], strict=False)]
    for number, pause in enumerate(pauses):
        assert pause >= 0.01 * 2**number
    assert len({round(pause, 4) for pause in pauses}) == 4


def test_the_deadline_ends_it_and_tells_the_last_fault():
    script = Script(*[503] * 1000)
    started = time.monotonic()
    with pytest.raises(Spent, match="503 Service Unavailable") as error:
        retrier(deadline=0.2, pause=0.01).run(script)
    assert time.monotonic() - started < 0.5
    assert error.value.attempts == len(script.times) > 2


def test_a_bug_is_no_fault():
    def buggy():
        raise KeyError("bug")

    with pytest.raises(KeyError):
        retrier().run(buggy)


class TestPace:
    def test_it_starts_low_and_grows_while_answers_are_quick(self):
        pace = Pace(32)
        before = pace.allowed
        for _ in range(1000):
            pace.answered(0.03)
        assert before == 8
        assert pace.allowed == 32

    def test_it_shrinks_where_requests_wait_for_each_other(self):
        pace = Pace(32)
        for _ in range(1000):
            pace.answered(0.03)
        for _ in range(1000):
            pace.answered(0.3 if pace.allowed > 12 else 0.07)
        assert 8 <= pace.allowed <= 12

    def test_an_overload_halves_it_once(self):
        pace = Pace(8)
        since = time.monotonic()
        for _ in range(8):
            pace.overloaded(since=since)
        assert pace.allowed == 4
        for _ in range(8):
            pace.overloaded(since=time.monotonic())
        assert pace.allowed == 1

    def test_no_more_than_allowed_run_at_once(self):
        pace, running, most = Pace(3), [], []
        lock = threading.Lock()

        def attempt():
            with lock:
                running.append(1)
                most.append(len(running))
            time.sleep(0.002)
            with lock:
                running.pop()

        with ThreadPoolExecutor(16) as pool:
            for future in [pool.submit(retrier(pace=pace).run, attempt) for _ in range(60)]:
                future.result()
        assert max(most) == 3
