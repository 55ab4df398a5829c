import threading

from engine.domain.errors import AuthorityUnavailable, LeaseLost
from engine.jobs import Job, Jobs
from engine.service.health_tracker import HealthTracker

SOON_S = 0.01
WAIT_S = 5


def raises(error: Exception) -> None:
    raise error


def test_the_jobs_stop_and_say_why_when_the_lease_is_lost(health: HealthTracker) -> None:
    table = [Job("heartbeat", SOON_S, lambda: raises(LeaseLost("taken over")))]

    assert Jobs(table, health, threading.Event()).run() is False


def test_the_other_jobs_go_on_when_one_fails(health: HealthTracker) -> None:
    good_runs = threading.Semaphore(0)
    table = [
        Job("buggy", SOON_S, lambda: raises(ZeroDivisionError("bug"))),
        Job("offline", SOON_S, lambda: raises(AuthorityUnavailable("gone"))),
        Job("good", SOON_S, good_runs.release),
    ]
    stop = threading.Event()
    running = threading.Thread(target=Jobs(table, health, stop).run)
    running.start()

    for _ in range(5):
        assert good_runs.acquire(timeout=WAIT_S)
    stop.set()
    running.join(WAIT_S)

    report = health.jobs()
    assert report["good"]["runs"] >= 5
    assert report["buggy"]["last_error"] == "ZeroDivisionError: bug"
    assert report["offline"]["failures"] >= 1


def test_a_slow_job_never_runs_beside_itself(health: HealthTracker) -> None:
    at_once, most, done = [0], [0], threading.Event()

    def slow() -> None:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        threading.Event().wait(0.1)
        at_once[0] -= 1
        if health.jobs()["slow"]["runs"] >= 2:
            done.set()

    stop = threading.Event()
    running = threading.Thread(target=Jobs([Job("slow", SOON_S, slow)], health, stop).run)
    running.start()

    assert done.wait(WAIT_S)
    stop.set()
    running.join(WAIT_S)

    assert most == [1]


def test_an_absence_is_logged_once_until_the_job_succeeds_or_fails_in_another_way(health: HealthTracker) -> None:
    health.expect_job("sync", 10)
    away, gone = AuthorityUnavailable("away"), AuthorityUnavailable("gone")

    news = [health.job_failed("sync", error) for error in (away, away, gone)]
    health.job_done("sync")

    assert [*news, health.job_failed("sync", gone)] == [True, False, True, True]
