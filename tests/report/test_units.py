import pytest

from autoprune.report.progress import hypervolume, hypervolume_by_trial
from autoprune.results import units


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (999.7, "1.00 k"), (54_586, "54.6 k"), (999_950, "1.00 M"), (1_511_000, "1.51 M")],
)
def test_counts(value, text):
    assert units.count(value) == text


@pytest.mark.parametrize(("value", "text"), [(12, "12 B"), (204_321, "204 kB"), (4_815_765, "4.82 MB")])
def test_sizes(value, text):
    assert units.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0184, "0.018 ms"), (0.0996, "0.10 ms"), (0.224, "0.22 ms"), (12.34, "12.3 ms")]
)
def test_milliseconds(value, text):
    assert units.milliseconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.0028, "+0.28"), (-0.01, "-1.00"), (-0.00001, "0.00")])
def test_points(value, text):
    assert units.points(value) == text


@pytest.mark.parametrize(
    ("dense", "value", "text"), [(100, 25, "4.0x"), (100, 3, "33x"), (1, 2, "0.5x"), (100, 0, "-")]
)
def test_ratios(dense, value, text):
    assert units.ratio(dense, value) == text


@pytest.mark.parametrize(("seconds", "text"), [(41.6, "42 s"), (112, "1 min 52 s"), (7500, "2 h 05 min")])
def test_durations(seconds, text):
    assert units.duration(seconds) == text


def test_hypervolume_is_the_area_of_a_staircase():
    assert hypervolume([]) == 0
    assert hypervolume([(0.5, 0.8)]) == pytest.approx(0.4)
    assert hypervolume([(0.5, 0.8), (0.25, 0.4), (0.75, 0.7), (1.2, 1.0)]) == pytest.approx(0.5 * 0.8 + 0.25 * 0.4)


def test_hypervolume_never_shrinks(experiment):
    values = hypervolume_by_trial(experiment)
    assert len(values) == len(experiment.candidates)
    assert values == sorted(values)
