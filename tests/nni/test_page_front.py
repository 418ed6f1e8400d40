"""The Pareto page's mathematics, in JavaScript, against the package's, in Python; both by the same declarations."""

import json
import random
import subprocess
from pathlib import Path

import nni_node
import pytest

from autoprune.errors import UserError
from autoprune.nni import bridge
from autoprune.report.rows import method
from autoprune.results.experiment import Trial
from autoprune.results.limits import read_limits, satisfies
from autoprune.results.measures import ACCURACY, MEASURES, METRIC, Measure
from autoprune.results.pareto import choose, declarations, hypervolume, pareto_front

NODE = Path(nni_node.__path__[0]) / "node"
PAGE = Path(bridge.__path__[0]) / "pareto_page"
RULES = ["drop<=1%", "drop <= 5 %", "drop<=0.1", "knee", "macs<=5k", "params<=400", "bytes<=1e3", "latency_ms<=2ms"]
RULES += ["macs<=1", "nonsense", "accuracy<=1", "t3"]
CONSTRAINTS = [[], ["drop<=5%"], ["accuracy>=0.9", "macs<=5k"], ["latency<=1.5ms"]]
SCRIPT = """
import { choose, hypervolume, paretoFront, within } from '%s';
import { gain } from '%s';
const { searches, rules, constraints, dense } = JSON.parse((await import('node:fs')).readFileSync(0, 'utf8'));
const answers = searches.map(({ trials, objectives }) => {
    const front = paretoFront(trials, objectives);
    const chosen = rules.map(rule => {
        try {
            return choose(rule, front, trials, dense, objectives).id;
        } catch (error) {
            return error.message;
        }
    });
    const volume = hypervolume(trials.map(({ measures }) => [measures.macs / dense.macs, gain(measures, dense)]));
    const allowed = constraints.map(each => within(trials, each, dense).map(trial => trial.id));
    return { front: front.map(trial => trial.id), chosen, volume, allowed };
});
console.log(JSON.stringify(answers));
"""
DENSE = {"accuracy": 0.95, "params": 1000, "macs": 10_000, "bytes": 4000, "latency_ms": 3.0}


WRITE = """
import { write } from '%s';
const values = JSON.parse((await import('node:fs')).readFileSync(0, 'utf8'));
console.log(JSON.stringify(values.map(([name, value]) => write(name, value))));
"""


RECOVERED = """
import { recoveredFront } from '%s';
const { front, cases, dense } = JSON.parse((await import('node:fs')).readFileSync(0, 'utf8'));
const answers = cases.map(([recovered, constraints]) => recoveredFront(front, recovered, constraints, dense));
console.log(JSON.stringify(answers.map(each => each.map(({ id, measures }) => [id, measures.accuracy]))));
"""


def test_a_rule_picks_by_the_accuracies_after_the_last_fine_tuning_once_the_whole_front_has_them(tmp_path):
    front = [
        {"id": "low", "parameters": {"sparsity": 0.5, "budget": 0}, "measures": {"accuracy": 0.9, "macs": 5}},
        {"id": "high", "parameters": {"sparsity": 0.5, "budget": 1}, "measures": {"accuracy": 0.91, "macs": 5}},
        {"id": "small", "parameters": {"sparsity": 0.9, "budget": 0}, "measures": {"accuracy": 0.8, "macs": 1}},
    ]
    both = {"high": {"validation": [0.92, 0.94]}, "small": {"validation": [0.85]}}
    cases = [({}, []), ({"small": both["small"]}, []), (both, []), (both, ["accuracy>=0.9"])]
    question = {"front": front, "cases": cases, "dense": DENSE}
    as_it_was = [["low", 0.9], ["high", 0.91], ["small", 0.8]]
    found = in_javascript(tmp_path, RECOVERED % (PAGE / "front.mjs").as_uri(), question)
    high = ["high", pytest.approx(0.93)]
    assert found == [as_it_was, as_it_was, [high, ["small", 0.85]], [high]]


def make_search(seed, metric=ACCURACY):
    name = metric.name
    rng = random.Random(seed)
    trials = []
    for number in range(rng.choice([0, 1, 2, 30])):
        share = rng.choice([0.1, 0.25, 0.5, rng.random()])
        measures = {size: max(1, round(value * share)) for size, value in DENSE.items() if size != "accuracy"}
        measures |= {name: round(rng.uniform(0.8, 0.96), 2), "latency_ms": round(3 * rng.random(), 2)}
        trials.append({"id": f"t{number}", "measures": measures})
    objectives = rng.choice([[name, "macs"], [name, "params", "latency_ms"], ["bytes", name]])
    return {"trials": trials, "objectives": objectives}


def in_javascript(folder, script, question, metric=METRIC):
    file = folder / "ask.mjs"
    declared = f"import {{ declare }} from '{(PAGE / 'measures.mjs').as_uri()}';\n"
    file.write_text(f"{declared}declare({json.dumps(declarations(metric))});\n{script}")
    command = [NODE, file]
    done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def in_python(search, metric=ACCURACY, dense=DENSE, rules=RULES, constraints=CONSTRAINTS):
    measures = {trial["id"]: trial["measures"] for trial in search["trials"]}
    front = pareto_front(measures, search["objectives"])
    chosen = []
    for rule in rules:
        try:
            if rule in measures:
                chosen.append(rule)
            else:
                known = {id_: measures[id_] for id_ in front}
                chosen.append(choose(rule, known, dense, search["objectives"], metric))
        except UserError as error:
            chosen.append(str(error))
    gains = [(m["macs"] / dense["macs"], metric.gain(m[metric.name], dense[metric.name])) for m in measures.values()]
    volume, limits = hypervolume(gains), [read_limits(each) for each in constraints]
    allowed = [[id_ for id_, m in measures.items() if satisfies(each, m, dense, metric)] for each in limits]
    return {"front": front, "chosen": chosen, "volume": pytest.approx(volume), "allowed": allowed}


def test_the_page_finds_the_same_fronts_and_chooses_the_same_trials_as_the_command_line(tmp_path):
    searches = [make_search(seed) for seed in range(60)]
    script = SCRIPT % ((PAGE / "front.mjs").as_uri(), (PAGE / "measures.mjs").as_uri())
    answers = in_javascript(
        tmp_path, script, {"searches": searches, "rules": RULES, "constraints": CONSTRAINTS, "dense": DENSE}
    )
    for search, answer in zip(searches, answers, strict=True):
        assert answer == in_python(search)


def test_the_page_judges_by_a_metric_of_which_less_is_better_as_the_command_line_does(tmp_path, monkeypatch):
    rmse = Measure("rmse", "RMSE", "minimize", "number", aliases=("error",))
    monkeypatch.setitem(MEASURES, "rmse", rmse)
    dense = {name: value for name, value in DENSE.items() if name != "accuracy"} | {"rmse": 0.85}
    searches = [make_search(seed, rmse) for seed in range(30)]
    rules = ["drop<=1%", "drop<=0.05", "rmse<=0.9", "error<0.85", "rmse>=0.9", "macs<=5k", "knee"]
    constraints = [["drop<=5%"], ["rmse<=0.9", "macs<=5k"]]
    question = {"searches": searches, "rules": rules, "constraints": constraints, "dense": dense}
    script = SCRIPT % ((PAGE / "front.mjs").as_uri(), (PAGE / "measures.mjs").as_uri())
    for search, answer in zip(searches, in_javascript(tmp_path, script, question, rmse), strict=True):
        assert answer == in_python(search, rmse, dense, rules, constraints)


def test_the_page_writes_numbers_as_the_reports_do(tmp_path):
    rng = random.Random(0)
    values = [("params", n) for n in (0, 7, 999, 1000, 9994, 9996, 99_949, 99_951, 999_499, 999_501, 1_514_496, 10**13)]
    values += [(name, int(10 ** rng.uniform(0, 12))) for name in ("params", "macs", "bytes") for _ in range(50)]
    values += [("accuracy", rng.random()) for _ in range(50)]
    values += [("latency_ms", 10 ** rng.uniform(-3, 4)) for _ in range(50)]
    answers = in_javascript(tmp_path, WRITE % (PAGE / "measures.mjs").as_uri(), values)
    assert answers == [MEASURES[name].write(value) for name, value in values]

    rmse = Measure("rmse", "RMSE", "minimize", "number")
    values = [("rmse", sign * 10 ** rng.uniform(-3, 7)) for sign in (1, -1) for _ in range(50)]
    answers = in_javascript(tmp_path, WRITE % (PAGE / "measures.mjs").as_uri(), values, rmse)
    assert answers == [rmse.write(value) for _, value in values]


NAME = """
import { methodOf, nameOf } from '%s';
const { sets, dense } = JSON.parse((await import('node:fs')).readFileSync(0, 'utf8'));
const small = { ...dense, macs: 3800, params: 300 };
const sparse = { ...dense, params: 200 };
const names = [null, small, sparse].map(measures => sets.map(each => nameOf(each, measures, dense)));
console.log(JSON.stringify([sets.map(methodOf), ...names]));
"""


def test_trials_have_the_same_names_on_the_pages_and_in_the_reports(tmp_path):
    sets = [{"criterion": "l1_norm", "schedule": s} for s in ("one_shot", "supernet", "shared", "gradual")]
    sets = [each | budget for each in sets for budget in ({}, {"budget": 0}, {"budget": 0.25}, {"budget": 1})]
    sets += [{"baseline": "dense", "criterion": "fpgm", "schedule": "supernet"}, {"criterion": "fpgm"}, {}]
    sets += [{"criterion": "level", "schedule": "one_shot", "allocation": "lamp", "sparsity": 0.5}]
    sets += [{"baseline": "lottery_ticket", "criterion": "level", "schedule": "lottery_ticket", "sparsity": 0.8}]
    script = NAME % (PAGE / "names.mjs").as_uri()
    methods, unfinished, small, sparse = in_javascript(tmp_path, script, {"sets": sets, "dense": DENSE})
    assert methods == [method(Trial("t", 0, each, "SUCCEEDED", {}, None, tmp_path, 0, 1)) for each in sets]
    assert unfinished == methods
    # a budget of 1 is the default of two schedules, one of 0 of the third; shared is supernet's former name
    assert len(set(methods)) == 14
    assert {"dense", "l1_norm, supernet + 25% fine-tuned", "l1_norm, gradual, not recovered"} <= set(methods)
    assert "l1_norm, supernet, 38% MACs" in small
    assert "level, lamp allocation, one shot, 20% weights" in sparse
    assert "lottery_ticket 80%" in small
    assert "dense" in small
