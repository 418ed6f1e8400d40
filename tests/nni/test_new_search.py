"""`autoprune init`, and `autoprune run TASK`: a search without a file of the repository."""

import io
import sys
from pathlib import Path

import pytest
import yaml

from autoprune import cli
from autoprune.errors import UserError
from autoprune.nni.config import load_config
from autoprune.nni.new_search import Wanted, find_config, write_search, write_template
from autoprune.results.settings import TrialCommand
from autoprune.search.space import check_space
from autoprune.task.find import load_task

REPOSITORY = Path(__file__).parents[2]
NETWORK = """
from torch import nn

def network():
    return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))
"""
DATA = """x = torch.randn(96, 12, generator=torch.Generator().manual_seed(0))
    data = torch.utils.data.TensorDataset(x, (x[:, 0] > 0).long())
    return autoprune.Splits(data, data, data)"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder and an NNI of this test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path / "nni"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def filled_in(file: Path) -> None:
    """Fill in the marked lines of a task file, as its remarks say."""
    lines = file.read_text().splitlines()
    for i, line in enumerate(lines):
        if "fill in its data" in line:
            lines[i] = f"    {DATA}"
        elif "fill in its model" in line:
            lines[i] = "    return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 2))"
        elif "FILL IN: one input" in line:
            lines[i] = "    example=torch.zeros(1, 12),"
    file.write_text("\n".join(lines))


@pytest.mark.parametrize("task", ["digits", "fashion_mnist"])
def test_the_search_of_a_built_in_task_is_the_examples(task):
    given = yaml.safe_load((REPOSITORY / "experiments" / f"{task}.yaml").read_text())
    space = yaml.safe_load((REPOSITORY / "search_spaces" / f"{task}.yaml").read_text())
    found = find_config(task)
    assert found.search_space == space
    assert found.tuner.class_args == given["tuner"]["classArgs"]
    assert (found.trial_command, found.max_trial_number) == (given["trialCommand"], given["maxTrialNumber"])
    assert (found.trial_concurrency, found.experiment_name) == (given["trialConcurrency"], given["experimentName"])


def test_what_is_written_for_a_built_in_task_passes_the_check_of_a_run(tmp_path):
    (config, space), ready = write_search(Wanted("digits", tmp_path / "new", ["accuracy", "params"], trials=12))
    assert ready and config.name == "digits.yaml"
    found = load_config(config)
    assert found.tuner.class_args["objectives"] == ["accuracy", "params"]
    assert found.max_trial_number == 12
    assert found.search_space == yaml.safe_load(space.read_text())
    before = config.read_text(), space.read_text()
    with pytest.raises(UserError, match="digits.yaml is there already"):
        write_search(Wanted("digits", tmp_path / "new"))
    assert before == (config.read_text(), space.read_text())


def test_a_folder_that_holds_one_of_the_files_is_given_none(tmp_path):
    (tmp_path / "search_space.yaml").write_text("mine")
    with pytest.raises(UserError, match="search_space.yaml is there already"):
        write_search(Wanted("digits", tmp_path))
    assert [file.name for file in tmp_path.glob("*.yaml")] == ["search_space.yaml"]


@pytest.mark.parametrize("folder", [".", "a search"])
def test_a_model_of_ones_own_gets_a_task_file_that_runs_once_its_data_are_there(tmp_path, folder):
    (tmp_path / "net.py").write_text(NETWORK)
    files, ready = write_search(Wanted("net.py:network", tmp_path / folder, shape="1,12"))
    assert not ready and [file.name for file in files] == ["network.yaml", "network_task.py", "search_space.yaml"]
    groups = [name for name in yaml.safe_load(files[2].read_text()) if name.startswith("sparsity.")]
    assert groups == ["sparsity.0", "sparsity.2"]
    from autoprune.nni import preflight

    with pytest.raises(UserError, match="network_task.py: fill in its data"):
        preflight.check_and_complete(load_config(files[0]))
    filled_in(files[1])
    preflight.check_and_complete(load_config(files[0]))


def test_a_rule_may_name_the_metric_of_the_tasks_own(tmp_path):
    from autoprune.nni import preflight

    (tmp_path / "own.py").write_text(
        "import autoprune\nfrom dataclasses import replace\nfrom autoprune.task.find import load_task\n"
        "task = replace(load_task('digits'), evaluate=lambda model, batches: {'mistakes': 1.0}, "
        "metric=autoprune.Metric('mistakes', direction='minimize'))\n"
    )
    (config, _), _ = write_search(Wanted("digits", tmp_path / "new"))
    config.write_text(config.read_text().replace("autoprune trial digits", f"autoprune trial {tmp_path / 'own.py'}"))
    found, metric = load_config(config), load_task(str(tmp_path / "own.py")).metric
    preflight.check_rule(found, "mistakes<=5", metric)
    with pytest.raises(UserError, match="cannot choose by 'accuracy<=2': use drop<=1%, mistakes<=NUMBER, macs"):
        preflight.check_rule(found, "accuracy<=2", metric)
    with pytest.raises(UserError, match="cannot choose by 'accuracy>=0.9': use drop<=1%, mistakes<=NUMBER"):
        preflight.check_rule(found, "accuracy>=0.9", metric)
    preflight.check_rule(found, "memory<=2M", metric)
    assert found.trial_command.endswith("--also memory")


def test_a_model_of_a_library_is_imported_from_there(tmp_path):
    (_, file, space), _ = write_search(Wanted("torchvision.models:resnet18", tmp_path / "new", shape="1,3,32,32"))
    text = file.read_text()
    assert "from torchvision.models import resnet18\n" in text and "model=resnet18," in text and "sys.path" not in text
    assert "sparsity.layer1.0.conv1" in space.read_text()


def test_a_template_runs_once_its_marked_lines_are_filled_in(tmp_path):
    file = write_template(tmp_path / "new")
    with pytest.raises(UserError, match="task.py: fill in its model"):
        write_search(Wanted(str(file), tmp_path / "new"))
    filled_in(file)
    (config, space), ready = write_search(Wanted(str(file), tmp_path / "new"))
    assert ready
    found = load_config(config)
    check_space(found.search_space, ["0"], ["l1_norm"], ["supernet"])
    assert found.trial_command == "autoprune trial task.py"
    with pytest.raises(UserError, match="task.py is there already"):
        write_template(tmp_path / "new")


def test_a_search_that_cannot_run_yet_says_so_and_why(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_DATA", str(tmp_path / "none"))
    with pytest.raises(UserError, match="fashion_mnist.yaml, .* are written, but the search cannot run yet: .*Fashion"):
        write_search(Wanted("fashion_mnist", tmp_path))


@pytest.mark.parametrize(
    "given, message",
    [
        ("digitz", "unknown task 'digitz': did you mean digits?"),
        ("none.yaml", "none.yaml: cannot be read"),
        ("none.py", "none.py does not exist"),
    ],
)
def test_what_is_neither_a_config_nor_a_task_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        find_config(given)


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "name what is to be pruned with --task"),
        (["--task", "digits", "--objectives", "accuracy,mcas"], "unknown objective 'mcas'"),
        (["--task", "digits", "--objectives", "rmse,macs"], "is judged by accuracy, not by rmse"),
    ],
)
def test_without_a_terminal_init_takes_options_alone(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.setattr(sys, "argv", ["autoprune", "init", *words])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert message in said and len(said.splitlines()) == 1
    assert not list(tmp_path.glob("*.yaml"))


class Person(io.StringIO):
    """A terminal's input."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answers, files", [("digits\naccuracy,params\n", 2), ("net.py:network\n1,12\n\n", 3)])
def test_in_a_terminal_init_asks_for_what_it_needs(tmp_path, monkeypatch, capsys, answers, files):
    (tmp_path / "net.py").write_text(NETWORK)
    monkeypatch.setattr(sys, "argv", ["autoprune", "init"])
    monkeypatch.setattr(sys, "stdin", Person(answers))
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    config = "digits.yaml" if files == 2 else "network.yaml"
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"autoprune run {config}")
    found = load_config(config)
    assert found.tuner.class_args["objectives"] == ["accuracy", "params" if files == 2 else "macs"]
    assert len(list(tmp_path.glob("*.yaml"))) + len(list(tmp_path.glob("*_task.py"))) == files


def test_ties_and_the_width_go_into_the_space_and_the_trial_command(tmp_path):
    wanted = Wanted("digits", tmp_path / "new", tie=("channels",), width=True)
    (config, space), ready = write_search(wanted)
    content, written = yaml.safe_load(config.read_text()), yaml.safe_load(space.read_text())
    assert ready and content["trialCommand"] == "autoprune trial digits --width"
    assert TrialCommand.parse(content["trialCommand"]).width
    assert TrialCommand.parse(content["trialCommand"]).to_words()[2:] == ["digits", "--width"]
    assert [name for name in written if "sparsity" in name] == ["sparsity.hidden", "sparsity.all:channels"]
