"""The Pareto page's mathematics, in JavaScript, against the package's, in Python."""

import json
import random
import subprocess
from pathlib import Path

import nni_node
import pytest

from autoprune.errors import UserError
from autoprune.experiment import bridge
from autoprune.report.progress import hypervolume
from autoprune.search.pareto import choose, pareto_front

NODE = Path(nni_node.__path__[0]) / "node"
FRONT = Path(bridge.__path__[0]) / "pareto_page" / "front.mjs"
RULES = ["drop<=1%", "drop <= 5 %", "drop<=0.1", "knee", "macs<=5k", "params<=400", "bytes<=1e3", "latency_ms<=2ms"]
RULES += ["macs<=1", "nonsense", "accuracy<=1", "t3"]
SCRIPT = """
import { choose, hypervolume, paretoFront } from '%s';
const { searches, rules, dense } = JSON.parse((await import('node:fs')).readFileSync(0, 'utf8'));
const answers = searches.map(({ trials, objectives }) => {
    const front = paretoFront(trials, objectives);
    const chosen = rules.map(rule => {
        try {
            return choose(rule, front, trials, dense, objectives).id;
        } catch (error) {
            return error.message;
        }
    });
    const volume = hypervolume(trials.map(({ measures }) => [measures.macs / dense.macs, measures.accuracy]));
    return { front: front.map(trial => trial.id), chosen, volume };
});
console.log(JSON.stringify(answers));
"""
DENSE = {"accuracy": 0.95, "params": 1000, "macs": 10_000, "bytes": 4000, "latency_ms": 3.0}


def make_search(seed):
    rng = random.Random(seed)
    trials = []
    for number in range(rng.choice([0, 1, 2, 30])):
        share = rng.choice([0.1, 0.25, 0.5, rng.random()])
        measures = {name: max(1, round(value * share)) for name, value in DENSE.items()}
        measures |= {"accuracy": round(rng.uniform(0.8, 0.96), 2), "latency_ms": round(3 * rng.random(), 2)}
        trials.append({"id": f"t{number}", "measures": measures})
    objectives = rng.choice([["accuracy", "macs"], ["accuracy", "params", "latency_ms"], ["bytes", "accuracy"]])
    return {"trials": trials, "objectives": objectives}


def in_python(search):
    measures = {trial["id"]: trial["measures"] for trial in search["trials"]}
    front = pareto_front(measures, search["objectives"])
    chosen = []
    for rule in RULES:
        try:
            if rule in measures:
                chosen.append(rule)
            else:
                chosen.append(choose(rule, {id_: measures[id_] for id_ in front}, DENSE, search["objectives"]))
        except UserError as error:
            chosen.append(str(error))
    volume = hypervolume([(m["macs"] / DENSE["macs"], m["accuracy"]) for m in measures.values()])
    return {"front": front, "chosen": chosen, "volume": pytest.approx(volume)}


def test_the_page_finds_the_same_fronts_and_chooses_the_same_trials_as_the_command_line(tmp_path):
    searches = [make_search(seed) for seed in range(60)]
    script = tmp_path / "ask.mjs"
    script.write_text(SCRIPT % FRONT.as_uri())
    question = json.dumps({"searches": searches, "rules": RULES, "dense": DENSE})
    done = subprocess.run([NODE, script], input=question, capture_output=True, text=True, check=True)
    for search, answer in zip(searches, json.loads(done.stdout), strict=True):
        assert answer == in_python(search)
