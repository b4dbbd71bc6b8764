"""The simulation of a fleet, against the product's metric and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from experiments.methods.round_robin import RoundRobin
from experiments.protocol.replayed_fleet import FPS, Playback, accuracies, simulate
from jitnet_tf.distillation import metrics
from jitnet_tf.fleet.scheduling import ByNeed, FirstCome


@given(
    arrays(
        np.uint8, st.tuples(st.integers(1, 5), st.just(2), st.just(3)), elements={"max_value": 3}
    )
)
def test_accuracies_are_those_of_the_metric(maps):
    shown = [*maps, np.zeros_like(maps[0])]
    expected = [
        [
            metrics.mean_iou(counts) if metrics.has_foreground(counts) else np.nan
            for labels in maps
            for counts in [metrics.confusion(labels, of, 4)]
        ]
        for of in shown
    ]
    np.testing.assert_allclose(accuracies(maps, 4), expected, rtol=1e-6)


class First:
    """A generator with which all streams begin at their first frame."""

    def integers(self, most):
        return np.zeros_like(most)


# Labels of frame i shown on frame j; on frame 2 there is no object.
TABLE = np.array([[1, 0.8, 0, 0.4], [0.8, 1, 0, 0.6], [0, 0, np.nan, 0], [0.4, 0.6, 0, 1], [0] * 4])
TABLE[4, 2] = np.nan


def test_one_stream_by_hand():
    """Asks on frames 0, 2 and 4 (0 again), is answered at once, and shows it from the next on."""
    found = simulate(Playback([TABLE], 1, First()), FirstCome(), 1.0, 6, min_stride=2)
    # Nothing, 0 on 1, 0 on 2 (which has none), 2 on 3, 2 on 0, 4 on 5.
    assert found.accuracy == pytest.approx([(0 + 0.8 + 0 + 0 + 0 + 0.8) / 6])
    assert list(found.waits) == [0, 0, 0]


def test_two_streams_share_one_answer_each_second_step():
    """Both ask on frame 0. a is answered in step 1 and asks again; then b, with its frame 0."""
    playing = Playback([TABLE], 2, First())
    found = simulate(playing, FirstCome(), 0.25, 5, min_stride=1)
    assert list(found.waits * FPS) == [1, 3]
    assert list(playing.shown) == [0, 0]


@pytest.mark.parametrize("share", [0.04, 0.19])
def test_teachers_answer_as_many_as_they_can(share):
    """8 streams: .32 or 1.52 answers a step, none of which is lost while requests wait."""
    found = simulate(Playback([TABLE], 8, First()), FirstCome(), share, 1000, 1)
    assert len(found.waits) == pytest.approx(8 * share * 1000, abs=1)


def test_the_warm_up_does_not_count():
    found = simulate(Playback([TABLE], 1, First()), FirstCome(), 1.0, 1, 100, warm_up=1)
    assert found.accuracy == pytest.approx([0.8])
    assert len(found.waits) == 0


@pytest.mark.parametrize("scheduler", [RoundRobin, ByNeed])
def test_with_enough_answers_the_order_is_nothing(scheduler):
    maps = np.random.default_rng(0).integers(0, 2, (7, 4, 4)).astype(np.uint8)
    tables = [accuracies(maps, 2), TABLE]
    playing = Playback(tables, 5, np.random.default_rng(1))
    reference = Playback(tables, 5, np.random.default_rng(1))
    found = simulate(playing, scheduler(), 1.0, 40, 3)
    assert list(found.accuracy) == list(simulate(reference, FirstCome(), 1.0, 40, 3).accuracy)


def test_a_stream_that_changes_gets_more_labels_by_need():
    moving = np.where(np.abs(np.subtract.outer(np.arange(401), np.arange(400))) < 15, 1.0, 0.0)
    still = np.ones((51, 50))
    tables = [still, moving]
    means = {}
    for kind in (RoundRobin, ByNeed):
        playing = Playback(tables, 8, np.random.default_rng(0))
        means[kind] = simulate(playing, kind(), 0.05, 600, 4, warm_up=200).accuracy
    assert means[ByNeed][1::2].min() > means[RoundRobin][1::2].max()
