"""A search is paused and goes on, and runs the trials that are allowed after its last one."""

import time

import pytest
import requests
from conftest import wait_until


def allow(nni_home, trials):
    assert nni_home.api("experiment?update_type=MAX_TRIAL_NUM", "PUT", json={"params": {"maxTrialNumber": trials}}).ok


def pause(nni_home, paused, **options):
    url = f"http://127.0.0.1:{nni_home.port}/api/v1/autoprune/paused"
    return requests.put(url, timeout=20, **({"json": {"paused": paused}} | options))


def check_refused(nni_home):
    """Only a word of our own pages pauses."""
    for content in ({"paused": "yes"}, {"paused": 1}, {}, []):
        assert pause(nni_home, None, json=content).status_code == 400
    text = {"json": None, "data": '{"paused": true}', "headers": {"Content-Type": "text/plain"}}
    assert pause(nni_home, True, **text).status_code == 400
    assert pause(nni_home, True, headers={"Origin": "http://evil.example"}).status_code == 403
    assert nni_home.status()["paused"] is False


def ended(nni_home) -> int:
    return sum(trial["status"] == "SUCCEEDED" for trial in nni_home.trials().values())


def test_a_paused_search_starts_nothing_and_goes_on_where_it_was(nni_home):
    assert nni_home.create(nni_home.config("--sleep 0.2", maxTrialNumber=40, trialConcurrency=2)).returncode == 0
    wait_until(lambda: ended(nni_home) >= 2, what="two trials")
    check_refused(nni_home)
    assert pause(nni_home, True).json() == {"paused": True}
    wait_until(lambda: ended(nni_home) == len(nni_home.trials()), what="the running trials' end")
    assert nni_home.status()["paused"] is True
    then, spent = len(nni_home.trials()), nni_home.api("experiment").json()["execDuration"]
    time.sleep(1.5)
    assert len(nni_home.trials()) == then < 40
    assert nni_home.api("experiment").json()["execDuration"] - spent <= 1  # a second that had begun
    assert pause(nni_home, False).ok
    allow(nni_home, then + 4)
    nni_home.wait_for_status("DONE")
    numbers = sorted(nni_home.trials_by_number())
    assert numbers == list(range(then + 4))
    assert nni_home.status()["paused"] is False
    assert pause(nni_home, True).status_code == 409  # it is over


def more_after_the_last(nni_home, at_once, without=""):
    """Let a search of three trials end, and allow four more; return how many ran at once."""
    config = nni_home.config("--sleep 0.6", maxTrialNumber=3, trialConcurrency=at_once)
    assert nni_home.create(config, without=without).returncode == 0
    nni_home.wait_for_status("DONE")
    allow(nni_home, 7)
    most = 0

    def is_over():
        nonlocal most
        statuses = [trial["status"] for trial in nni_home.trials().values()]
        most = max(most, statuses.count("RUNNING"))
        return statuses.count("SUCCEEDED") == 7

    wait_until(is_over, 8 if without else 60, "all seven trials")
    return most


def test_trials_allowed_after_the_last_one_are_run_as_many_at_once(nni_home):
    assert more_after_the_last(nni_home, 2) == 2
    nni_home.wait_for_status("DONE")


@pytest.mark.slow
def test_without_the_bridge_they_never_are(nni_home):
    with pytest.raises(AssertionError, match="all seven trials"):
        more_after_the_last(nni_home, 1, without="more_trials")
