import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autoprune.finalize.final import Final
from autoprune.report.page import write_report


class Page(HTMLParser):
    """The page's text, and what it would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.scripts: list[str] = []
        self.said: list[str] = []
        self._within = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._within = tag
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag in ("link", "iframe", "object", "embed", "base"):
            self.loads.append(tag)

    def handle_endtag(self, tag):
        self._within = ""

    def handle_data(self, data):
        (self.scripts if self._within == "script" else self.said).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


def written(experiment, final=None, folder=None) -> Page:
    file = (folder or experiment.folder) / "new" / "report.html"
    assert write_report(experiment, final, file) == file
    return Page(file.read_text())


@pytest.fixture
def final(experiment):
    files = {
        "pt2": Path("out/model.pt2"),
        "onnx": Path("out/model.onnx"),
        "state_dict": Path("out/model.state_dict.pt"),
    }
    chosen = experiment.front()[1]
    latencies = {"dense": 0.2, chosen.id: 0.1}
    return Final(chosen, "drop<=1%", 0.981, 0.987, latencies, files)


def test_the_page_needs_nothing_else(experiment, final):
    page = written(experiment, final)
    assert page.loads == []
    assert "default-src 'none'" in (experiment.folder / "new" / "report.html").read_text()
    assert any("Plotly" in script and len(script) > 1_000_000 for script in page.scripts)


def test_it_shows_the_front_the_dense_model_the_baselines_and_the_choice(experiment, final):
    text = written(experiment, final).text
    for trial in [*experiment.front(), *experiment.baselines["l1_filter"], *experiment.baselines["lottery_ticket"]]:
        assert f"{trial.id} " in text
    assert "58.6 k" in text  # the dense model's parameters
    assert f"{final.chosen.id} chosen" in text
    assert "within 1% of the dense model's" in text
    assert "98.10 % (dense model: 98.70 %)" in text
    assert "0.10 ms 2.0x faster" in text  # the latencies measured in turn


@pytest.mark.parametrize(
    "rule, words",
    [
        ("drop<=1%", "the smallest network on the front whose accuracy is within 1% of the dense model's"),
        ("accuracy>=0.98", "the smallest network on the front whose accuracy is at least 0.98"),
        ("latency<=3ms", "the most accurate network on the front with latency up to 3ms"),
        ("knee", "the bend of the front"),
    ],
)
def test_it_says_in_words_by_what_rule_the_model_was_chosen(experiment, rule, words):
    assert f"({rule}: {words}" in written(experiment, Final(experiment.front()[0], rule)).text


def test_it_says_why_trials_failed_and_how_to_load_the_model(experiment, final):
    text = written(experiment, final).text
    for trial in experiment.failed:
        assert f"{trial.id} {trial.reason}" in text
    for call in ('torch.export.load("model.pt2")', 'InferenceSession("model.onnx")', 'load_task("digits")'):
        assert call in text


def test_it_says_how_the_search_was_made(experiment):
    text = written(experiment).text
    for fact in ("Seed 3", "optuna 5.", "nni 3.0", "trialConcurrency: 2", "Time to the last result", "quniform"):
        assert fact in text


def test_what_users_wrote_is_escaped(maker):
    attack = "<script>alert(1)</script>"
    maker.add(0.99, 0.5)
    maker.trials[0].parameters[f"sparsity.{attack}"] = 0.5
    maker.trials[0].record["kept"][attack] = 4
    maker.trials[0].record["channels"][attack] = 8
    maker.fail(attack)
    experiment = maker.experiment(experimentName=attack, description=f"</pre>{attack}")
    page = written(experiment, Final(maker.trials[0], attack))
    assert not any("alert(1)</script" in script or script.strip() == "alert(1)" for script in page.scripts)
    assert page.text.count(attack) >= 4


def test_secrets_stay_out(maker):
    machines = {"platform": "remote", "machineList": [{"host": "h", "password": "hunter2", "sshPassphrase": "hunter3"}]}
    command = "API_KEY=hunter4 autoprune trial digits"
    tuner = {"name": "OptunaTuner", "classArgs": {"storage": "postgresql://me:hunter5@db.example/studies"}}
    written(maker.experiment(trainingService=machines, trialCommand=command, tuner=tuner))
    page = (maker.folder / "new" / "report.html").read_text()
    assert "hunter" not in page
    assert "autoprune trial digits" in page
    assert "postgresql://me:...@db.example/studies" in page


@pytest.mark.parametrize("accuracies", [[], [0.98]], ids=["no candidates", "one candidate, no baselines"])
def test_it_works_before_the_search_has_got_anywhere(maker, accuracies):
    for accuracy in accuracies:
        maker.add(accuracy, 0.5)
    assert "No model has been chosen" in written(maker.experiment()).text


def test_it_works_before_the_first_trial_has_finished(dense_unknown):
    assert "No trial has finished yet." in written(dense_unknown).text


def test_baselines_alone_are_shown(maker):
    maker.add(0.98, 0.5, baseline="l1_filter", sparsity=0.3)
    assert "l1_filter 30%" in written(maker.experiment()).text


def test_reports_need_no_torch():
    code = "import sys, autoprune.report.page, autoprune.report.table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_networks_that_lost_channels_under_norms_are_named_inexact(maker, tmp_path):
    exact, narrow = maker.add(0.99, 0.6), maker.add(0.97, 0.3)
    record = json.loads((narrow.folder / "result.json").read_text())
    for part, width in (("kept", 16), ("channels", 32)):
        record[part]["width:embed"] = width
    (narrow.folder / "result.json").write_text(json.dumps(record))
    assert (exact.inexact, narrow.inexact) == (
        "",
        "It is inexact: norms are taken over fewer channels than in the dense model (width:embed).",
    )
    page = write_report(maker.experiment(), None, tmp_path / "report.html").read_text()
    assert f"Of the front, inexact (norms are taken over fewer channels than in the dense model): {narrow.id}." in page
