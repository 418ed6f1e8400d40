"""What NNI's manager serves of a search's folder: files that lie there, and nothing that they could do in a browser."""

import os
import sqlite3
from contextlib import closing

import pytest
import requests
from conftest import Nni, free_port

SECRET = "a secret elsewhere"


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A search with one trial, which has ended."""
    nni = Nni(tmp_path_factory.mktemp("home"), free_port())
    assert nni.create(nni.config(maxTrialNumber=1)).returncode == 0
    nni.wait_for_status("DONE")
    (nni.home / "elsewhere").mkdir()
    (nni.home / "elsewhere" / "secret.txt").write_text(SECRET)
    yield nni
    nni.end()


def get(nni, path):
    return requests.get(f"http://127.0.0.1:{nni.port}/{path}", timeout=20)


def trial_of(nni):
    (trial,) = nni.trials()
    return trial, nni.folder / "environments" / "local-env" / "trials" / trial


def link_out(nni, folder):
    """Put a link to a file and one to a folder elsewhere into ``folder``; return the paths to the secret in it."""
    (folder / "link.txt").symlink_to(nni.home / "elsewhere" / "secret.txt")
    (folder / "folder").symlink_to(nni.home / "elsewhere")
    return "link.txt", "folder/secret.txt"


def test_links_lead_nowhere_out_of_the_logs(ended):
    (ended.log / "latest.log").symlink_to("nnimanager.log")
    assert "Start NNI manager" in get(ended, "logs/nnimanager.log").text
    assert get(ended, "logs/latest.log").status_code == 200
    for path in link_out(ended, ended.log):
        assert get(ended, f"logs/{path}").status_code == 404
        assert SECRET not in get(ended, f"logs/{path}").text


def test_links_lead_nowhere_out_of_a_trials_folder(ended):
    trial, folder = trial_of(ended)
    (folder / "own.txt").write_text("its own")
    assert get(ended, f"api/v1/nni/trial-file/{trial}/own.txt").text == "its own"
    assert get(ended, f"api/v1/nni/trial-file/{trial}/stderr").status_code == 200
    for path in link_out(ended, folder):
        answer = get(ended, f"api/v1/nni/trial-file/{trial}/{path.replace('/', '%2f')}")
        assert (answer.status_code, SECRET in answer.text) == (500, False)
    other = folder.with_name("other")
    other.symlink_to(ended.home / "elsewhere")
    answer = get(ended, "api/v1/nni/trial-file/other/secret.txt")
    assert (answer.status_code, SECRET in answer.text) == (500, False)


def test_of_a_trials_log_the_page_gets_the_last_lines_and_no_link_leads_out_of_it(ended):
    trial, folder = trial_of(ended)
    (folder / "trial.stdout").unlink()
    (folder / "trial.stdout").symlink_to(ended.home / "elsewhere" / "secret.txt")
    answer = get(ended, f"api/v1/autoprune/log/{trial}")
    assert (answer.json()["stdout"], SECRET in answer.text) == (None, False)
    (folder / "trial.stdout").unlink()
    (folder / "trial.stdout").write_text("a line\n" * 100_000 + "the last\n")
    answer = get(ended, f"api/v1/autoprune/log/{trial}").json()["stdout"]
    assert answer.startswith("a line\n") and answer.endswith("the last\n") and len(answer) <= 64 * 1024
    assert get(ended, "api/v1/autoprune/log/..%2f..%2flog").status_code in (400, 404)


def test_links_and_pipes_lead_nowhere_out_of_what_the_page_is_told(ended):
    trial, folder = trial_of(ended)
    with closing(sqlite3.connect(ended.folder / "db" / "nni.sqlite")) as database, database:
        database.execute("delete from MetricData")  # a success without a result has failed

    def told():
        (shown,) = get(ended, "api/v1/autoprune/page").json()["trials"]
        return shown["status"], shown["reason"]

    (folder / "failure.txt").write_text("out of memory")
    os.mkfifo(folder / "result.json")  # to read it is to wait for ever
    assert told() == ("FAILED", "out of memory")
    (folder / "failure.txt").unlink()
    (folder / "failure.txt").symlink_to(ended.home / "elsewhere" / "secret.txt")
    touch(ended)
    assert told() == ("FAILED", f"ended without a result: see {folder / 'trial.stderr'}")
    (ended.home / "elsewhere" / "failure.txt").write_text(SECRET)
    folder.rename(folder.with_name("moved"))
    folder.symlink_to(ended.home / "elsewhere")
    touch(ended)
    assert told() == ("FAILED", f"ended without a result: see {folder / 'trial.stderr'}")
    folder.unlink()
    folder.with_name("moved").rename(folder)


def touch(nni):
    """Let the page's process look at the trial again: the database has a new row about it."""
    with closing(sqlite3.connect(nni.folder / "db" / "nni.sqlite")) as database, database:
        database.execute("insert into TrialJobEvent select * from TrialJobEvent order by rowid desc limit 1")


def test_links_lead_nowhere_out_of_an_export(ended):
    trial, _ = trial_of(ended)
    folder = ended.folder / "exports" / trial
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_text("a model")
    link_out(ended, folder)
    url = "api/v1/autoprune/exports"
    assert get(ended, url).json()[trial]["files"] == ["model.onnx"]
    assert get(ended, f"{url}/{trial}/model.onnx").text == "a model"
    for name in ("link.txt", "folder", "folder%2fsecret.txt"):
        assert get(ended, f"{url}/{trial}/{name}").status_code == 404
    (ended.folder / "exports" / "linked").symlink_to(ended.home / "elsewhere")
    assert get(ended, f"{url}/linked/secret.txt").status_code == 404


def test_nothing_that_a_trial_wrote_runs_in_a_browser(ended):
    trial, folder = trial_of(ended)
    for name in ("page.html", "page.svg", "page.js"):
        for place in (ended.log, folder):
            (place / name).write_text("<script>alert(1)</script>")
        shown = get(ended, f"logs/{name}")
        assert shown.headers["Content-Type"] == "text/plain; charset=utf-8"
        for answer in (shown, get(ended, f"api/v1/nni/trial-file/{trial}/{name}")):
            assert answer.text == "<script>alert(1)</script>"
            assert "html" not in answer.headers["Content-Type"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "sandbox" in policy


@pytest.mark.parametrize("path", ["", "oview", "nowhere", "pareto/", "autoprune/webui.mjs", "logs/x"])
def test_every_page_has_a_policy_and_is_what_it_says(ended, path):
    answer = get(ended, path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
