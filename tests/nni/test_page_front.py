"""What the pages in the browser are told, by the process that works it out, and what they draw of it."""

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import product
from pathlib import Path

import nni_node
import pytest
from test_old_experiments import ID, unpack

from autoprune.nni import bridge
from autoprune.nni.page_data import Pages, choice, names, page
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.measures import ACCURACY, MEASURES, Measure

NODE = Path(nni_node.__path__[0]) / "node"
BRIDGE = Path(bridge.__path__[0])
DENSE = {"accuracy": 0.95, "params": 1000, "macs": 10_000, "bytes": 4000, "latency_ms": 3.0}
RMSE = Measure("rmse", "RMSE", "minimize", "number", aliases=("error",))


def make_search(folder, results, metric=ACCURACY, parameters=None, **arguments) -> Experiment:
    """Return a search with trials of these measures, called t0, t1, ..."""
    dense = {metric.name if name == "accuracy" else name: value for name, value in DENSE.items()}
    (folder / "result.json").write_text(json.dumps({"dense": dense}))
    trials = [
        Trial(f"t{i}", i, (parameters or {}).get(i, {}), "SUCCEEDED", each, None, folder, i + 1, i + 2, metric=metric)
        for i, each in enumerate(results)
    ]
    return Experiment("abc", folder, {"tuner": {"classArgs": arguments}}, trials, metric=metric)


def random_results(seed, metric=ACCURACY):
    rng = random.Random(seed)
    for _ in range(30):
        share = rng.choice([0.1, 0.25, 0.5, rng.random()])
        measures = {name: max(1, round(value * share)) for name, value in DENSE.items() if name != "accuracy"}
        yield measures | {metric.name: round(rng.uniform(0.8, 0.96), 2), "latency_ms": round(3 * rng.random(), 2)}


@pytest.mark.parametrize("seed", range(5))
def test_the_page_is_told_the_front_of_any_two_measures_and_the_growth_of_the_volume(tmp_path, seed):
    experiment = make_search(tmp_path, random_results(seed), constraints=["latency<=2.5ms"])
    told = json.loads(json.dumps(page(experiment)))
    measures = {trial["id"]: trial["measures"] for trial in told["trials"]}
    allowed = {key: each for key, each in measures.items() if each["latency_ms"] <= 2.5}
    assert 1 < len(allowed) < len(measures)
    for a, b in product(("accuracy", *experiment.sizes), repeat=2):
        front = told["fronts"].get(f"{a} {b}") or told["fronts"][f"{b} {a}"]
        costs = {key: tuple(MEASURES[name].cost(each[name]) for name in (a, b)) for key, each in allowed.items()}
        beaten = {key for key, x in costs.items() for y in costs.values() if y != x and y[0] <= x[0] and y[1] <= x[1]}
        assert {costs[key] for key in front} == {costs[key] for key in costs if key not in beaten}
        assert len({costs[key] for key in front}) == len(front)
    assert told["front"] == told["fronts"]["accuracy macs"] == [trial.id for trial in experiment.front()]
    volume = told["volume"]
    assert (volume["size"], len(volume["values"])) == ("macs", 30)
    assert volume["values"] == pytest.approx(sorted(volume["values"]))
    assert volume["minutes"][-1] == pytest.approx(30 / 60_000)


def test_the_page_is_told_how_a_metric_of_which_less_is_better_is_written_and_compared(tmp_path, monkeypatch):
    monkeypatch.setitem(MEASURES, "rmse", RMSE)
    sizes = {"params": 500, "macs": 2500, "bytes": 4000, "latency_ms": 0.5}
    results = [{"rmse": 0.931, **sizes}, {"rmse": 1.2, **sizes}]
    experiment = make_search(tmp_path, results, RMSE, objectives=["rmse", "macs"])
    told = page(experiment)
    assert told["measures"] == [each.declaration() for each in (RMSE, *experiment.sizes.values())]
    (better, worse), dense = told["trials"], told["dense"]
    assert told["front"] == [better["id"]]
    assert dense["texts"] == ["0.95", "1.00 k", "10.0 k", "4.00 kB", "3.00 ms"]
    assert better["texts"] == ["0.931", "500", "2.50 k", "4.00 kB", "0.50 ms"]
    assert better["compared"] == ["-2.0 %", "2.0x fewer", "4.0x fewer", "the same", "6.0x faster"]
    assert worse["compared"][0] == "+26.3 %"
    assert choice(experiment, "error<=1") == {"trial": "t0", "reason": "error<=1"}
    assert choice(experiment, " t1 ") == {"trial": "t1", "reason": "trial t1, by hand"}
    assert choice(experiment, "rmse<=0.9") == {"refused": "no trial satisfies rmse<=0.9: loosen it, or search longer"}
    assert choice(experiment, "nonsense")["refused"].startswith("cannot choose by 'nonsense': use drop<=1%")


def test_a_rule_picks_by_the_accuracies_after_the_last_fine_tuning_once_the_whole_front_has_them(tmp_path):
    results = [DENSE | {"accuracy": 0.94, "macs": 5000}, DENSE | {"accuracy": 0.93, "macs": 1000}]
    parameters = {0: {"sparsity": 0.5, "budget": 0.0}, 1: {"sparsity": 0.9, "budget": 0.0}}
    experiment = make_search(tmp_path, results, parameters=parameters)
    assert choice(experiment, "drop<=1%")["trial"] == "t0"

    def recover(**validation):
        other = {"before": 0.9, "file": "model.pt", "steps": 1}
        known = {key: other | {"validation": each, "test": each} for key, each in validation.items()}
        (tmp_path / "recovered.json").write_text(json.dumps(known))

    recover(t1=[0.945, 0.947])
    assert choice(experiment, "drop<=1%")["trial"] == "t0"  # of one alone, nothing can be compared
    recover(t0=[0.94], t1=[0.945, 0.947])
    assert choice(experiment, "drop<=1%")["trial"] == "t1"
    first, second = page(experiment)["trials"]
    assert (first["recovered"]["test"], second["recovered"]["validation"]) == ("94.00 %", "94.50 %, 94.70 %")


def test_trials_are_called_by_how_they_pruned_and_what_is_left(tmp_path):
    sets = [{"criterion": "l1_norm", "schedule": s} for s in ("one_shot", "supernet", "shared", "gradual")]
    sets = [each | budget for each in sets for budget in ({}, {"budget": 0}, {"budget": 0.25}, {"budget": 1})]
    sets += [{"baseline": "dense", "criterion": "fpgm", "schedule": "supernet"}, {"criterion": "fpgm"}, {}]
    sets += [{"criterion": "level", "schedule": "one_shot", "allocation": "lamp", "sparsity": 0.5}]
    sets += [{"baseline": "lottery_ticket", "criterion": "level", "schedule": "lottery_ticket", "sparsity": 0.8}]
    sets += [{"criterion": "x", "schedule": None, "budget": "all"}, {"baseline": "x", "sparsity": []}]
    parameters = dict(enumerate(sets))

    def called(measures):
        experiment = make_search(tmp_path, [measures] * len(sets), parameters=parameters)
        told = names(experiment)
        assert told["metric"] == "accuracy"
        assert [trial["name"] for trial in page(experiment)["trials"]] == [
            f"{i}: {each}" for i, each in enumerate(told["names"].values())
        ]
        return list(told["names"].values())

    unfinished = called({})
    assert len(set(unfinished)) == 16  # a budget of 1 is the default of two schedules, one of 0 of the third
    assert {"dense", "l1_norm, supernet + 25% fine-tuned", "l1_norm, gradual, not recovered"} <= set(unfinished)
    small = called(DENSE | {"macs": 3800, "params": 300})
    assert {"l1_norm, supernet, 38% MACs", "lottery_ticket 80%", "dense"} <= set(small)
    assert "level, lamp allocation, one shot, 20% weights" in called(DENSE | {"params": 200})


@pytest.fixture
def stopped(tmp_path):
    """The folder of an experiment that has stopped half-way, with its database."""
    return next(unpack(tmp_path).rglob(ID))


def ask(folder, *questions):
    """Return what the process answers to questions, a status and JSON each, and what it says on stderr."""
    command = [sys.executable, "-P", "-m", "autoprune.nni.page_data", folder]
    lines = "".join(f"{json.dumps(each)}\n" for each in questions)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=True)
    return [(int(line[:3]), json.loads(line[4:])) for line in done.stdout.splitlines()], done.stderr


def test_the_process_answers_a_line_for_a_line_until_its_input_ends(stopped):
    curves = {"stem": [[0, float("nan")]]}
    (stopped / "log" / "sensitivity.json").write_text(json.dumps(curves))
    rule = {"ask": "choice", "rule": "knee"}
    answers, said = ask(
        stopped, {"ask": "page"}, {"ask": "names"}, rule, {"ask": "page", "n": 1}, {"ask": "choice"}, {}
    )
    assert [status for status, _ in answers] == [200, 200, 200, 200, 400, 400]
    told, named, chosen, again = (content for _, content in answers[:4])
    assert (told["ended"], told["total"], len(told["trials"])) == (17, 24, 18)
    assert told["counts"].startswith("17 of 24 trials done, 0 failed")
    assert told["front"] == ["ifL5U", "LKUAp", "jRRec"]
    assert told["groups"] == ["stem.0", "down.0", "hidden"]
    assert told["kept"]["jRRec"] == [0.5, 0.25, 0.25]
    assert named["names"]["pSCKc"] == "l1_filter 50%"
    assert chosen == {"trial": "ifL5U", "reason": "knee"}
    assert again == told
    assert said == ""


def test_a_tasks_own_metric_is_known_from_the_trial_command(stopped):
    for file in stopped.rglob("result.json"):
        file.write_text(file.read_text().replace("accuracy", "dice"))
    with closing(sqlite3.connect(stopped / "db" / "nni.sqlite")) as database, database:
        database.execute("update MetricData set data = replace(data, 'accuracy', 'dice')")
        command = "replace(params, 'autoprune trial', 'autoprune trial --metric dice:minimize:number')"
        database.execute(f"update ExperimentProfile set params = replace({command}, 'accuracy', 'dice')")
    worst = {"ask": "choice", "rule": "dice<=1"}
    (told, named, chosen) = (content for _, content in ask(stopped, {"ask": "page"}, {"ask": "names"}, worst)[0])
    assert told["metric"] == named["metric"] == told["measures"][0]["name"] == "dice"
    assert told["front"] == ["rpehz"]  # less is better now
    assert chosen == {"trial": "rpehz", "reason": "dice<=1"}
    shown = {trial["id"]: trial for trial in told["trials"]}["rpehz"]
    assert (shown["texts"][0], shown["compared"][0]) == ("0.9611", "-2.0 %")


def test_what_has_changed_is_read_again_and_a_damaged_database_is_said_in_one_line(stopped):
    pages, file = Pages(stopped), stopped / "db" / "nni.sqlite"

    def told():
        status, answer = pages.answer({"ask": "page"})
        return status, json.loads(answer)

    assert told()[1]["front"] == ["ifL5U", "LKUAp", "jRRec"]
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("delete from MetricData where trialJobId = 'ifL5U'")
    assert told()[1]["front"] == ["T2ZDq", "N7qAz", "LKUAp", "jRRec"]
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    status, answer = told()
    assert status == 503
    assert answer["error"].startswith(f"experiment {ID} is damaged: its database ")
    file.unlink()
    assert told()[1]["error"].startswith(f"experiment {ID} has no database at ")
    file.write_bytes(whole)
    assert told()[1]["front"] == ["T2ZDq", "N7qAz", "LKUAp", "jRRec"]


def test_who_knows_a_version_is_told_what_has_changed_since(stopped):
    pages, file = Pages(stopped), stopped / "db" / "nni.sqlite"

    def told(since=None):
        return json.loads(pages.answer({"ask": "page", "since": since})[1])

    def change(statement):
        with closing(sqlite3.connect(file)) as database, database:
            database.execute(statement)

    first = told()
    assert (first["whole"], len(first["trials"])) == (True, 18)
    assert told(first["version"]) == {key: first[key] for key in ("version", "doing")}
    change("delete from MetricData where trialJobId = 'YUN8Y'")
    second = told(first["version"])
    assert second["whole"] is False
    assert [(trial["id"], trial["status"]) for trial in second["trials"]] == [("YUN8Y", "FAILED")]
    assert second["counts"].startswith("17 of 24 trials done, 1 failed")
    for unknown in ("", "x", "x.1", 7):
        assert len(told(unknown)["trials"]) == 18
    change("delete from TrialJobEvent where trialJobId = 'YUN8Y'")  # a page cannot forget it bit by bit
    third = told(second["version"])
    assert (third["whole"], len(third["trials"])) == (True, 17)


def test_of_one_trial_parameters_and_what_it_keeps_are_told_when_asked(stopped):
    pages = Pages(stopped)
    status, answer = pages.answer({"ask": "trial", "trial": "jRRec"})
    assert (status, json.loads(answer)["kept"]) == (200, {"stem.0": "8/16", "down.0": "8/32", "hidden": "8/32"})
    assert json.loads(answer)["parameters"]["sparsity.down.0"] == "0.75"
    assert pages.answer({"ask": "trial", "trial": "../x"})[0] == 422
    assert pages.answer({"ask": "trial"})[0] == 400


def test_it_is_told_what_runs_and_how_much_of_it_is_done(stopped):
    pages = Pages(stopped)
    ((trial),) = json.loads(pages.answer({"ask": "page"})[1])["doing"]
    assert (trial["id"], trial["words"], trial["share"]) == ("hPJTs", "", None)
    note = stopped / "environments" / "local-env" / "trials" / "hPJTs" / "progress.txt"
    note.parent.mkdir(exist_ok=True)
    note.write_text("epoch 1 of 4, training step 50 of 100, loss 0.4, 12/s, about 8 s left")
    ((trial),) = json.loads(pages.answer({"ask": "page"})[1])["doing"]
    assert (trial["words"], trial["share"]) == (note.read_text(), 0.375)


def test_an_objective_that_nobody_declared_and_a_fault_of_ours_are_said_in_one_line(stopped, monkeypatch, capsys):
    monkeypatch.setattr("autoprune.nni.page_data.channels", lambda experiment: {}["two\nlines"])
    status, answer = Pages(stopped).answer({"ask": "page"})
    assert (status, json.loads(answer)["error"]) == (500, "KeyError: 'two\\nlines'")
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setattr(Experiment, "objectives", ("flops",))
    status, answer = Pages(stopped).answer({"ask": "page"})
    assert status == 422
    assert json.loads(answer)["error"].startswith("unknown objective 'flops': use accuracy, ")


def test_the_process_needs_no_pytorch_and_no_nni():
    code = "import sys, autoprune.nni.page_data; print({'torch', 'nni', 'plotly', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


ASK = """
const {{ PageData }} = require('{module}');
const data = new PageData({{ args: {{ pythonInterpreter: '{python}' }}, paths: {{ experimentRoot: '{folder}' }} }});
const ask = () => data.ask({{ ask: 'names' }});
(async () => {{
    const both = await Promise.all([ask(), ask()]);
    console.log(JSON.stringify([...both, await ask()]));
    if (data.child) {{
        data.child.kill('SIGKILL');
        await new Promise(resolve => data.child.once('close', resolve));
        console.log(JSON.stringify(await ask()));
    }}
    process.exit();
}})();
"""


def ask_by_node(tmp_path, python, folder):
    file = tmp_path / "ask.js"
    file.write_text(ASK.format(module=BRIDGE / "page_data.js", python=python, folder=folder))
    done = subprocess.run([NODE, file], capture_output=True, text=True, check=True, timeout=60)
    return list(map(json.loads, done.stdout.splitlines()))


def test_a_process_that_was_killed_is_replaced_when_somebody_asks_again(stopped, tmp_path):
    before, after = ask_by_node(tmp_path, sys.executable, stopped)
    assert [status for status, _ in before] == [200, 200, 200]
    assert json.loads(before[0][1])["names"]["pSCKc"] == "l1_filter 50%"
    assert after == before[0]


@pytest.mark.parametrize("python, reason", [("/bin/false", "ended with status 1; see log/"), ("/none", "ENOENT")])
def test_a_process_that_cannot_start_is_said_in_one_line_to_all_who_ask(stopped, tmp_path, python, reason):
    (answers,) = ask_by_node(tmp_path, python, stopped)
    for status, answer in answers:
        assert status == 503
        assert json.loads(answer)["error"].startswith("the results cannot be read: ")
        assert reason in json.loads(answer)["error"]


DRAW = """
import {{ readFileSync }} from 'node:fs';
globalThis.document = {{}};
globalThis.getComputedStyle = () => ({{ getPropertyValue: () => ' #123' }});
const drawn = {{}};
const react = (place, traces, layout) => {{ drawn[place.id] = [traces, layout]; return {{ then() {{}} }}; }};
globalThis.Plotly = {{ react }};
const {{ drawFront, drawKept, drawVolume }} = await import('{plots}');
const {{ readPage }} = await import('{state}');
const state = readPage(JSON.parse(readFileSync(0, 'utf8')));
const place = id => ({{ id, style: {{}} }});
drawFront(place('front'), state, {{ x: 'params', y: 'accuracy', xlog: true, others: true, chosen: 'jRRec' }}, null);
drawVolume(place('volume'), state);
drawKept(place('kept'), state, null);
console.log(JSON.stringify(drawn));
"""


def test_the_plots_draw_what_they_are_told(stopped, tmp_path):
    told = json.loads(Pages(stopped).answer({"ask": "page"})[1])
    file = tmp_path / "draw.mjs"
    places = {name: (BRIDGE / "pareto_page" / f"{name}.mjs").as_uri() for name in ("plots", "state")}
    file.write_text(DRAW.format(**places))
    done = subprocess.run([NODE, file], input=json.dumps(told), capture_output=True, text=True, check=True)
    drawn = json.loads(done.stdout)
    traces, layout = drawn["front"]
    shown = {trace["name"]: trace for trace in traces}
    assert shown["Pareto front"]["customdata"] == ["jRRec", "LKUAp", "N7qAz", "ifL5U"]
    assert shown["Pareto front"]["x"] == [1626, 3674, 6058, 6394]
    assert shown["selected"]["customdata"] == ["jRRec"]
    assert shown["dense model"]["x"] == [11642]
    assert len(shown["candidates"]["x"]) == 10
    assert {"baseline l1_filter", "baseline lottery_ticket"} <= set(shown)
    assert "accuracy: 96.39 %<br>parameters: 1.63 k<br>" in shown["Pareto front"]["text"][0]
    assert layout["xaxis"]["title"]["text"] == "parameters (log scale)"
    assert layout["yaxis"]["tickformat"] == ".4~p"
    ((volume,), layout) = drawn["volume"]
    assert volume["y"] == told["volume"]["values"]
    assert layout["yaxis"]["title"]["text"] == "of accuracy and MACs"
    ((heat,), _) = drawn["kept"]
    assert heat["text"][-1] == ["8/16", "8/32", "8/32"]
    assert heat["y"][0].startswith("ifL5U  97.22 %")


MANY = """
globalThis.document = {{}};
globalThis.getComputedStyle = () => ({{ getPropertyValue: () => ' #123' }});
const drawn = [];
globalThis.Plotly = {{ react: (_, traces) => {{ drawn.push(traces[0].customdata); return {{ then() {{}} }}; }} }};
const {{ drawFront }} = await import('{plots}');
const trial = (i, x, y) => ({{ id: `t${{i}}`, name: 'a', measures: {{ macs: x, accuracy: y }}, texts: ['', ''] }});
const spread = i => trial(i, 1 + (i * 7919) % 5000, (i * 104729) % 4999 / 5000);
const candidates = Array.from({{ length: 5000 }}, (_, i) => spread(i));
const measures = [{{ name: 'accuracy', noun: 'accuracy' }}, {{ name: 'macs', noun: 'MACs' }}];
const declared = new Map(measures.map(each => [each.name, each]));
const front = candidates.slice(0, 3);
const place = {{}};
const draw = others => drawFront(place, {{ measures, declared, candidates: others, trials: others, baselines: {{}},
    fronts: {{ 'macs accuracy': front }} }}, {{ x: 'macs', y: 'accuracy', xlog: false, others: true }}, null);
const words = draw(candidates);
draw([...candidates, trial(5000, 2500.5, 0.5)]);
const times = drawn.length;
draw([...candidates, trial(5001, 9000, 0.5)]);
console.log(JSON.stringify([words, drawn[0].length, times, drawn.length]));
"""


def test_of_thousands_of_candidates_few_are_drawn_and_none_anew_for_one_among_many(tmp_path):
    file = tmp_path / "many.mjs"
    file.write_text(MANY.format(plots=(BRIDGE / "pareto_page" / "plots.mjs").as_uri()))
    done = subprocess.run([NODE, file], capture_output=True, text=True, check=True)
    words, count, times, later = json.loads(done.stdout)
    assert 100 < count <= 500
    assert f"Of 5000 candidates, {count} are drawn" in words
    assert times == 1  # the new one lies where another one is drawn
    assert later == 2  # and this one beyond all others


def test_of_a_long_search_the_volume_is_told_where_it_grew_and_at_its_end(tmp_path):
    results = [DENSE | {"accuracy": 0.5 + 0.4 * (i >= 100), "macs": 5000} for i in range(600)]
    volume = page(make_search(tmp_path, results))["volume"]
    assert volume["values"] == pytest.approx([0.25, 0.45, 0.45])
    assert volume["minutes"] == pytest.approx([1 / 60_000, 101 / 60_000, 600 / 60_000], abs=1e-4)
