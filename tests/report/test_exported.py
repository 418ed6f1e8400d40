"""What is said of a model that was taken home is said in its task's own metric."""

from types import SimpleNamespace

import pytest

from autoprune.export.recovery import Recovery
from autoprune.report.exported import on_test, outcome
from autoprune.results.measures import ACCURACY, METRICS


def final(metric, test, dense, recovery=None, quantized=None):
    chosen = SimpleNamespace(id="abc", metric=metric)
    of_test = {"test_quality": test, "dense_test_quality": dense}
    return SimpleNamespace(chosen=chosen, reason="knee", recovery=recovery, quantized=quantized, **of_test)


@pytest.mark.parametrize(
    "metric, numbers, said",
    [
        (ACCURACY, (0.98889, 0.99), "test accuracy 98.89 %, dense 99.00 %"),
        (METRICS["rmse"], (53.123456, 50.0), "test RMSE 53.12, dense 50"),
        (METRICS["mAP"], (0.4, 0.5), "test mAP 40.00 %, dense 50.00 %"),
    ],
)
def test_on_the_test_split_the_metric_has_its_own_name_and_form(metric, numbers, said):
    assert on_test(final(metric, *numbers)) == said


def test_more_recovery_and_eight_bits_are_told_in_the_metric():
    more = Recovery(None, 300, 55.0, 53.0)
    eight = SimpleNamespace(method="post-training, 512 training examples")
    lines = outcome(final(METRICS["rmse"], 54.0, 50.0, more, eight))
    assert lines == [
        "trial abc, chosen by knee: test RMSE 54, dense 50",
        "validation RMSE 55, after 300 more steps 53",
        "eight-bit integers: post-training, 512 training examples",
    ]
