"""Looking at a search leaves it as it was, and only addresses that answer are printed."""

import logging
from types import SimpleNamespace

from nni.tools.nnictl.config_utils import Experiments

from autoprune.nni.bridge import viewing


def test_a_search_that_is_looked_at_is_not_the_latest(tmp_path, monkeypatch):
    registry = Experiments(str(tmp_path))
    monkeypatch.setattr(viewing, "Experiments", lambda: Experiments(str(tmp_path)))
    for number, name in enumerate(("old", "new")):
        registry.add_experiment(name, 8080, number + 1, "local", name, tag=[name])
    link = tmp_path / "_latest"
    link.symlink_to("new", target_is_directory=True)
    with viewing.as_it_was("old", SimpleNamespace(experiment_working_directory=str(tmp_path))):  # as NNI does:
        link.unlink()
        link.symlink_to("old", target_is_directory=True)
        registry.add_experiment("old", 9090, 3, "local", "old", pid=5)
    known = Experiments(str(tmp_path)).get_all_experiments()
    assert {name: each["startTime"] for name, each in known.items()} == {"old": 1, "new": 2}
    assert (known["old"]["port"], known["old"]["pid"], known["old"]["tag"]) == (9090, 5, ["old"])
    assert link.readlink().name == "new"


def test_addresses_where_nobody_listens_are_left_out(monkeypatch):
    monkeypatch.setattr(viewing, "_answers", lambda address: "127.0.0.1" in address)
    said = "Web portal URLs: ${CYAN}http://10.0.0.7:80 http://127.0.0.1:80 http://127.0.0.1:80"
    record = logging.LogRecord("nni.experiment", logging.INFO, "", 0, said, (), None)
    assert viewing.OnlyAnswering().filter(record)
    assert record.msg == "Web portal URLs: ${CYAN}http://127.0.0.1:80"
