"""jitnet_tf.pretraining.pipeline: which photograph comes when, and the batches made of them."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given
from hypothesis import strategies as st

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining.augmentation import Augmentation
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from jitnet_tf.pretraining.pipeline import Samples, draws
from tests.materials import augmentation, write_photographs

LVS = LabelMaker(class_groups("lvs"))
RATES = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0])
COUNTS = st.lists(st.integers(1, 12), min_size=1, max_size=2)


def first(number, *arguments):
    return list(itertools.islice(draws(*arguments), number))


# Order


@given(COUNTS, RATES, st.integers(0, 9), st.integers(0, 10**9))
def test_the_second_set_has_its_share_of_every_stretch(counts, rate, seed, start):
    assume(len(counts) == 2)
    chosen = [which for which, _, _ in first(120, seed, counts, rate, start)]
    total = np.concatenate([[0], np.cumsum(chosen)])
    lengths = np.arange(len(total))
    for begin in lengths:  # every stretch
        share = total[begin:] - total[begin] - rate * (lengths[begin:] - begin)
        assert np.abs(share).max() < 1 + 1e-6


@given(COUNTS, RATES, st.integers(0, 9))
def test_every_photograph_once_a_round(counts, rate, seed):
    samples = first(150, seed, counts, rate, 0)
    assert [number for _, _, number in samples] == list(range(150))
    for which, count in enumerate(counts):
        shown = [photograph for chosen, photograph, _ in samples if chosen == which]
        rounds = [shown[i : i + count] for i in range(0, len(shown), count)]
        for one in rounds:
            assert len(set(one)) == len(one)
            assert set(one) <= set(range(count))


@given(COUNTS, RATES, st.integers(0, 9), st.integers(0, 300))
def test_going_on_equals_not_stopping(counts, rate, seed, skipped):
    straight = first(skipped + 40, seed, counts, rate, 0)
    assert first(40, seed, counts, rate, skipped) == straight[skipped:]


@pytest.mark.parametrize("rate", [0, 1])
def test_one_set_alone(rate):
    samples = first(50, 3, [7, 5], rate, 0)
    assert {which for which, _, _ in samples} == {rate}
    assert {photograph for _, photograph, _ in samples} == set(range(5 if rate else 7))


@given(RATES, st.integers(0, 9))
def test_a_rate_without_a_second_set_means_nothing(rate, seed):
    assert first(40, seed, [6], rate, 0) == first(40, seed, [6], 0, 0)


def test_rounds_and_seeds_and_sets_have_orders_of_their_own():
    orders = set()
    for seed in (0, 1):
        samples = first(120, seed, [30, 30], 0.5, 0)
        for which in (0, 1):
            shown = [photograph for chosen, photograph, _ in samples if chosen == which]
            orders |= {tuple(shown[:30]), tuple(shown[30:])}
    assert len(orders) == 8
    assert all(sorted(order) == list(range(30)) for order in orders)


def test_far_into_a_training():
    """Numbers of samples beyond what a float of single precision tells apart."""
    start = 10**9 + 7
    samples = first(1000, 0, [118_287, 6_000], 0.1, start)
    assert sum(which for which, _, _ in samples) in (99, 100, 101)
    assert [number - start for _, _, number in samples] == list(range(1000))


# Batches


@pytest.fixture
def sets(tmp_path):
    """Two sets, of which the second has 20 photographs."""
    made = []
    for name, count in (("one", 5), ("two", 20)):
        (tmp_path / name).mkdir()
        made.append(CocoDataset(*write_photographs(tmp_path / name, count), LVS))
    return made


def taken(dataset, count):
    return [[part.numpy() for part in batch] for batch in dataset.take(count)]


def assert_same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a, b, strict=True):
            assert (x.dtype, x.shape) == (y.dtype, y.shape)
            np.testing.assert_array_equal(x, y)


def test_batches(sets):
    """Each sample is its photograph, varied by its own random numbers."""
    augment = augmentation(48)
    dataset = Samples(sets, 0.3, augment, 5).batches(4, 0)
    S = augment.crop
    assert [tuple(spec.shape) for spec in dataset.element_spec] == [
        (4, S, S, 3), (4, S, S), (4, S, S)]  # fmt: skip
    assert [spec.dtype for spec in dataset.element_spec] == [tf.uint8, tf.uint8, tf.float32]
    batches = taken(dataset, 5)
    expected = []
    for which, photograph, number in first(20, 5, [5, 20], 0.3, 0):
        rng = np.random.default_rng([5, number])
        expected.append(augment(rng, *sets[which].read(photograph)))
    parts = [np.stack(part) for part in zip(*expected, strict=True)]
    assert_same(batches, [[part[i : i + 4] for part in parts] for i in range(0, 20, 4)])


@pytest.mark.parametrize("step", [1, 7])
def test_batches_from_any_step_on(sets, step):
    """As in a training that is resumed: equal bit for bit."""
    samples = [Samples(sets, 0.3, augmentation(40), 5) for _ in range(2)]
    straight = taken(samples[0].batches(3, 0), step + 4)
    assert_same(taken(samples[1].batches(3, step), 4), straight[step:])
    other = taken(Samples(sets, 0.3, augmentation(40), 6).batches(3, step), 4)
    assert any((a[0] != b[0]).any() for a, b in zip(other, straight[step:], strict=True))


def test_another_photograph_in_place_of_a_damaged_one(sets):
    _, annotated = sets
    number = 4
    annotated.path(number).write_bytes(b"")
    samples = Samples([annotated], 0, augmentation(40), 1)
    batches = taken(samples.batches(5, 0), 4)  # a round
    assert samples.failure is None
    assert list(annotated.lost) == [annotated.names[number]]
    order = [photograph for _, photograph, _ in first(20, 1, [20], 0, 0)]
    at = order.index(number)
    expected = augmentation(40)(np.random.default_rng([1, at]), *annotated.read(number + 1))
    for part, want in zip(batches[at // 5], expected, strict=True):
        np.testing.assert_array_equal(part[at % 5], want)
    # And again the same, now that it is known.
    assert_same(taken(samples.batches(5, 0), 4), batches)


def test_the_last_is_replaced_by_the_first(sets):
    _, annotated = sets
    annotated.path(19).write_bytes(b"")
    samples = Samples([annotated], 0, augmentation(40), 1)
    taken(samples.batches(20, 0), 1)
    assert list(annotated.lost) == [annotated.names[19]]
    assert samples.failure is None


def test_too_many_damaged(sets):
    """The iteration ends, and what to tell the user is known."""
    _, annotated = sets
    for number in (3, 8, 12):
        annotated.path(number).write_bytes(b"")
    samples = Samples(sets, 1, augmentation(40), 1)
    with pytest.raises(tf.errors.OpError):
        taken(samples.batches(1, 0), 20)
    assert isinstance(samples.failure, UserError)
    assert "3 of the 20 photographs of" in str(samples.failure)
    assert "check the folder of the photographs" in str(samples.failure)


def test_all_damaged_after_most_were_held_out(sets):
    """A part too small to be a tenth of the whole, and nothing else to show."""
    _, annotated = sets
    annotated.keep([6])
    annotated.path(0).write_bytes(b"")
    samples = Samples([annotated], 0, augmentation(40), 1)
    with pytest.raises(tf.errors.OpError):
        taken(samples.batches(1, 0), 1)
    assert "1 of the 1 photographs" in str(samples.failure)


def test_every_sample_is_used(sets):
    """Batches have no gaps or repetitions between them."""
    augment = Augmentation(96, 1, 1, 1, False, 0)
    shown = taken(Samples(sets, 0.5, augment, 2).batches(3, 0), 5)
    frames = np.concatenate([frames for frames, _, _ in shown])
    assert len(np.unique(frames.reshape(len(frames), -1), axis=0)) == len(frames)
