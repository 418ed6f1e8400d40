"""A trial that speaks to NNI's command channel without importing nni, so that a hundred of them take seconds.

Arguments: ``--die-each N`` ends every Nth trial before it asks for its parameters; ``--first S`` lets the first
trial, and ``--sleep S`` each, work for S seconds; ``--report 1`` reports once before; ``--measures 1`` reports a
pruning trial's measures. Interrupted at work, it ends with status 1.
"""

import http.client
import json
import os
import sys
import time
from urllib.parse import urlsplit

URL = urlsplit(os.environ["NNI_TRIAL_COMMAND_CHANNEL"])
OPTIONS = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))


def call(method, body=None):
    connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=20)
    connection.request(method, URL.path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()


die_each = int(OPTIONS.get("--die-each", 0))
if die_each and int(os.environ["NNI_TRIAL_SEQ_ID"]) % die_each == 1:
    sys.exit(1)

call("PUT", {"type": "request_parameter"})
status, answer = call("GET")
while status == 408:
    status, answer = call("GET")
record = json.loads(json.loads(answer)["parameter"])
with open(f"{os.environ['NNI_OUTPUT_DIR']}/ran.json", "w") as file:  # noqa: PTH123  (pathlib takes long to import)
    json.dump(record, file)


def report(kind, value):
    metric = {
        "parameter_id": record["parameter_id"],
        "trial_job_id": os.environ["NNI_TRIAL_JOB_ID"],
        "type": kind,
        "sequence": 0,
        "value": json.dumps(value),
    }
    call("PUT", {"type": "metric", "metric": json.dumps(metric)})


try:
    if OPTIONS.get("--report"):
        report("PERIODICAL", 0.5)
    time.sleep(float(OPTIONS.get("--sleep", 0)))
    if os.environ["NNI_TRIAL_SEQ_ID"] == "0":
        time.sleep(float(OPTIONS.get("--first", 0)))
except KeyboardInterrupt:
    sys.exit(1)
value = record["parameters"]["x"]
if OPTIONS.get("--measures"):
    size = 1000 * (1 + value)
    value = {"default": value, "accuracy": value, "params": size, "macs": size, "bytes": size, "latency_ms": 1.0}
report("FINAL", value)
