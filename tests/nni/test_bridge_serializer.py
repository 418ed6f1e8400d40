"""``nni.load`` unpickles what it is told to and takes ``#`` for a comment. The bridge's ``load`` does neither."""

import json
import math
import subprocess
import sys

import nni
import numpy
import pytest

from autoprune.nni.bridge.serializer import load

PICKLE = {"__nni_type__": "path:os.getcwd"}


METRIC = json.dumps({"type": "ME", "content": json.dumps({"value": json.dumps({"note": "", "page": "http://c # d"})})})


def test_marks_of_comments_in_strings_are_read_whole():
    assert json.loads(load(load(METRIC)["content"])["value"])["page"] == "http://c # d"


def test_nni_itself_still_cuts_such_strings():
    with pytest.raises(ValueError):
        nni.load(METRIC)


def test_numbers_that_numpy_wrote_are_restored():
    read = load(nni.dump({"scalar": math.nan, "array": numpy.arange(3), "empty": numpy.zeros((0, 2))}))
    assert math.isnan(read["scalar"])
    assert isinstance(read["array"], numpy.ndarray)
    assert read["array"].tolist() == [0, 1, 2]
    assert read["empty"].shape == (0, 2)


@pytest.mark.parametrize("item", [PICKLE, {"__nni_obj__": "gASVAA=="}, {"__symbol__": "path:os.getcwd"}])
def test_what_would_be_unpickled_or_imported_stays_plain(item):
    assert load(json.dumps([item])) == [item]


def test_every_module_of_nni_that_receives_is_given_the_plain_reader():
    code = """
import nni, nni.runtime.msg_dispatcher, nni.runtime.msg_dispatcher_base as base
from autoprune.nni.bridge.serializer import load, receive_plain_json
receive_plain_json()
from nni.runtime.tuner_command_channel import channel
assert {nni.load, nni.runtime.msg_dispatcher.load, base.load, channel.load} == {load}
"""
    subprocess.run([sys.executable, "-c", code], check=True)
