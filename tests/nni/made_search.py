"""A search of any size, as NNI and its trials write it, in which it is known what matters; and its page, served."""

import json
import random
import re
import sqlite3
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from plotly.offline import get_plotlyjs

from autoprune.nni import bridge
from autoprune.nni.page_data import Pages
from autoprune.results.network import ADDED, READ, Edge, Layer, Network
from autoprune.results.network import FILE as NETWORK
from autoprune.results.prepared import FILE as PREPARED
from autoprune.results.prepared import Prepared
from autoprune.results.size_model import SizeModel, Term

BRIDGE = Path(bridge.__path__[0])
TABLES = """
create table TrialJobEvent (timestamp integer, trialJobId text, event text, data text, logPath text, sequenceId integer,
    message text, environmentId text);
create table MetricData (timestamp integer, trialJobId text, parameterId text, type text, sequence integer, data text);
create table ExperimentProfile (params text, id text, execDuration integer, startTime integer, endTime integer,
    logDir text, nextSequenceId integer, revision integer);
"""
DENSE = {"accuracy": 0.95, "params": 1_000_000, "macs": 20_000_000, "bytes": 3_700_000, "latency_ms": 3.0}
START = 1_790_000_000_000


def make_search(folder: Path, groups: int, candidates: int, seed: int = 0, layers: int = 2) -> Path:
    """Write a search whose accuracy follows from its first group's sparsity and from its criterion, and return it.

    Args:
        layers: that each group couples, every other one of them; the last layer of the network is in no group.
    """
    rng = random.Random(seed)
    channels = {f"stage{i // 4}.{i % 4}.conv1": 16 * 2 ** min(3, 4 * i // groups) for i in range(groups)}
    trials = folder / "environments" / "local-env" / "trials"
    (folder / "db").mkdir(parents=True)
    with closing(sqlite3.connect(folder / "db" / "nni.sqlite")) as database, database:
        database.executescript(TABLES)
        config = {
            "experimentName": "made_search",
            "trialCommand": "autoprune trial digits",
            "maxTrialNumber": candidates + 1,
        }
        config |= {
            "tuner": {"className": "autoprune.search.OptunaTuner", "classArgs": {"objectives": ["accuracy", "macs"]}}
        }
        database.execute(
            "insert into ExperimentProfile values (?, ?, 60, ?, null, '', 0, 1)",
            (json.dumps(config), folder.name, START),
        )
        dense = {"baseline": "dense", "criterion": "l1_norm", "schedule": "one_shot"}
        _add(database, trials, 0, dense, DENSE, dict(channels), channels)
        for number in range(1, candidates + 1):
            sparsity = {name: rng.randrange(8) / 8 for name in channels}
            criterion = rng.choice(["fpgm", "l1_norm"])
            kept = {name: max(1, round(total * (1 - sparsity[name]))) for name, total in channels.items()}
            share = sum(kept.values()) / sum(channels.values())
            first = next(iter(sparsity.values()))
            accuracy = (
                0.94 - 0.08 * first**2 - 0.05 * (1 - share) ** 2 - 0.02 * (criterion == "fpgm") + rng.gauss(0, 0.002)
            )
            measures = {key: value * share for key, value in DENSE.items()} | {"accuracy": round(accuracy, 4)}
            parameters = {"criterion": criterion, "schedule": "one_shot"}
            parameters |= {f"sparsity.{name}": value for name, value in sparsity.items()}
            _add(database, trials, number, parameters, measures, kept, channels)
    drawn = []
    for name, total in channels.items():
        for i in range(layers):
            terms = (Term(total * 90.0, total * 2000.0, ({name: 1.0},)),)
            groups = {} if i == 1 else {name: 1.0}
            drawn.append(Layer(name.replace("conv1", f"conv{i + 1}"), "Conv2d 3x3", total, total, groups, terms))
    drawn.append(Layer("head", "Linear", total, 10, {}, (Term(1280.0, 1280.0, ({name: 1.0},)),)))
    edges = (Edge(0, 2, ADDED), *(Edge(i, i + 1, READ) for i in range(len(drawn) - 1)))
    (trials / "t0" / NETWORK).write_text(json.dumps(Network(tuple(drawn), channels, edges).to_dict()))
    curves = {
        name: [(0.0, 0.95), (0.25, 0.94 - i / 400), (0.5, 0.9 - i / 200), (0.75, 0.7), (0.9375, 0.3)]
        for i, name in enumerate(channels)
    }
    prepared = Prepared(DENSE, SizeModel(channels, ()), curves, schedule="one_shot")
    (trials / "t0" / PREPARED).write_text(json.dumps(prepared.to_dict()))
    return folder


def _add(database, trials, number, parameters, measures, kept, channels):
    folder = trials / f"t{number}"
    folder.mkdir(parents=True)
    record = {"parameters": parameters, "measures": measures, "kept": kept, "channels": channels, "dense": DENSE}
    (folder / "result.json").write_text(json.dumps(record))
    begun = START + 3000 * number
    for event, time, data in (
        ("RUNNING", begun, json.dumps({"parameters": parameters})),
        ("SUCCEEDED", begun + 2000, None),
    ):
        row = (time, folder.name, event, data, number)
        database.execute("insert into TrialJobEvent values (?, ?, ?, ?, '', ?, null, '')", row)
    data = json.dumps(json.dumps(measures))
    database.execute(
        "insert into MetricData values (?, ?, ?, 'FINAL', 0, ?)", (begun + 2000, folder.name, number, data)
    )


@contextmanager
def served(folder: Path):
    """Serve the page of a search as NNI's manager does, under its content security policy, and give its address."""
    pages, page = Pages(folder), BRIDGE / "pareto_page"
    declared = re.search(r"const POLICY = (.*?);\n\n", (BRIDGE / "page.js").read_text(), re.DOTALL)
    policy = "".join(re.findall(r'"([^"]*)"', declared[1]))
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = urlsplit(self.path)
            name, question = path.path.rpartition("/")[2], dict(parse_qsl(path.query))
            if name == "check-status":
                self.send("application/json", b'{"status": "DONE", "errors": []}')
            elif path.path.startswith("/api/v1/autoprune/"):
                with lock:
                    status, answer = (200, "{}") if name == "exports" else pages.answer({"ask": name, **question})
                self.send("application/json", answer.encode(), status)
            elif name == "plotly.js":
                self.send("text/javascript", get_plotlyjs().encode())
            elif (file := page / (name or "index.html")).is_file():
                kind = {".html": "text/html", ".css": "text/css", ".mjs": "text/javascript"}[file.suffix]
                self.send(kind, file.read_bytes())
            else:
                self.send("text/plain", b"", 204)

        def send(self, kind, content, status=200):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Security-Policy", policy)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/pareto/"
    finally:
        server.shutdown()
        server.server_close()
        pages.close()
