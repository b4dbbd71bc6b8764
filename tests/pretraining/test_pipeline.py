"""The order of the images in a pretraining, and the batches made of them."""

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
from tests.materials import augmentation, write_images

LVS = LabelMaker(class_groups("lvs"))
RATES = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0])
COUNTS = st.lists(st.integers(1, 12), min_size=1, max_size=2)


def first(number, *arguments):
    return list(itertools.islice(draws(*arguments), number))


# Order


@given(COUNTS, RATES, st.integers(0, 9), st.integers(0, 10**9))
def test_the_second_dataset_has_its_share_of_every_range(counts, rate, seed, start):
    assume(len(counts) == 2)
    chosen = [which for which, _, _ in first(120, seed, counts, rate, start)]
    total = np.concatenate([[0], np.cumsum(chosen)])
    lengths = np.arange(len(total))
    for begin in lengths:
        share = total[begin:] - total[begin] - rate * (lengths[begin:] - begin)
        assert np.abs(share).max() < 1 + 1e-6


@given(COUNTS, RATES, st.integers(0, 9))
def test_every_image_comes_once_a_round(counts, rate, seed):
    samples = first(150, seed, counts, rate, 0)
    assert [number for _, _, number in samples] == list(range(150))
    for which, count in enumerate(counts):
        shown = [image for chosen, image, _ in samples if chosen == which]
        rounds = [shown[i : i + count] for i in range(0, len(shown), count)]
        for one in rounds:
            assert len(set(one)) == len(one)
            assert set(one) <= set(range(count))


@given(COUNTS, RATES, st.integers(0, 9), st.integers(0, 300))
def test_draws_from_any_number_on_equal_uninterrupted_ones(counts, rate, seed, skipped):
    straight = first(skipped + 40, seed, counts, rate, 0)
    assert first(40, seed, counts, rate, skipped) == straight[skipped:]


@pytest.mark.parametrize("rate", [0, 1])
def test_a_rate_of_0_or_1_takes_one_dataset(rate):
    samples = first(50, 3, [7, 5], rate, 0)
    assert {which for which, _, _ in samples} == {rate}
    assert {image for _, image, _ in samples} == set(range(5 if rate else 7))


@given(RATES, st.integers(0, 9))
def test_the_rate_is_ignored_without_a_second_dataset(rate, seed):
    assert first(40, seed, [6], rate, 0) == first(40, seed, [6], 0, 0)


def test_orders_differ_between_rounds_seeds_and_datasets():
    orders = set()
    for seed in (0, 1):
        samples = first(120, seed, [30, 30], 0.5, 0)
        for which in (0, 1):
            shown = [image for chosen, image, _ in samples if chosen == which]
            orders |= {tuple(shown[:30]), tuple(shown[30:])}
    assert len(orders) == 8
    assert all(sorted(order) == list(range(30)) for order in orders)


def test_rates_hold_far_into_a_training():
    """Tests sample numbers that single precision cannot represent."""
    start = 10**9 + 7
    samples = first(1000, 0, [118_287, 6_000], 0.1, start)
    assert sum(which for which, _, _ in samples) in (99, 100, 101)
    assert [number - start for _, _, number in samples] == list(range(1000))


# Batches


@pytest.fixture
def datasets(tmp_path):
    """Two datasets, of 5 and 20 images."""
    made = []
    for name, count in (("one", 5), ("two", 20)):
        (tmp_path / name).mkdir()
        made.append(CocoDataset(*write_images(tmp_path / name, count), LVS))
    return made


def taken(dataset, count):
    return [[part.numpy() for part in batch] for batch in dataset.take(count)]


def assert_same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a, b, strict=True):
            assert (x.dtype, x.shape) == (y.dtype, y.shape)
            np.testing.assert_array_equal(x, y)


def test_a_sample_is_its_image_augmented_by_its_own_random_numbers(datasets):
    augment = augmentation(48)
    made = Samples(datasets, 0.3, augment, 5).batches(4, 0)
    S = augment.crop
    assert [tuple(spec.shape) for spec in made.element_spec] == [
        (4, S, S, 3), (4, S, S), (4, S, S)]  # fmt: skip
    assert [spec.dtype for spec in made.element_spec] == [tf.uint8, tf.uint8, tf.float32]
    batches = taken(made, 5)
    expected = []
    for which, image, number in first(20, 5, [5, 20], 0.3, 0):
        rng = np.random.default_rng([5, number])
        expected.append(augment(rng, *datasets[which].read(image)))
    parts = [np.stack(part) for part in zip(*expected, strict=True)]
    assert_same(batches, [[part[i : i + 4] for part in parts] for i in range(0, 20, 4)])


@pytest.mark.parametrize("step", [1, 7])
def test_batches_from_any_step_on_equal_uninterrupted_ones(datasets, step):
    """Bit for bit, as a resumed training needs them."""
    samples = [Samples(datasets, 0.3, augmentation(40), 5) for _ in range(2)]
    straight = taken(samples[0].batches(3, 0), step + 4)
    assert_same(taken(samples[1].batches(3, step), 4), straight[step:])
    other = taken(Samples(datasets, 0.3, augmentation(40), 6).batches(3, step), 4)
    assert any((a[0] != b[0]).any() for a, b in zip(other, straight[step:], strict=True))


def test_the_next_image_replaces_a_damaged_one(datasets):
    _, dataset = datasets
    number = 4
    dataset.path(number).write_bytes(b"")
    samples = Samples([dataset], 0, augmentation(40), 1)
    batches = taken(samples.batches(5, 0), 4)  # a round
    assert samples.failure is None
    assert list(dataset.unreadable) == [dataset.names[number]]
    order = [image for _, image, _ in first(20, 1, [20], 0, 0)]
    at = order.index(number)
    expected = augmentation(40)(np.random.default_rng([1, at]), *dataset.read(number + 1))
    for part, want in zip(batches[at // 5], expected, strict=True):
        np.testing.assert_array_equal(part[at % 5], want)
    # The same again, now that the damage is known.
    assert_same(taken(samples.batches(5, 0), 4), batches)


def test_the_first_image_replaces_a_damaged_last_one(datasets):
    _, dataset = datasets
    dataset.path(19).write_bytes(b"")
    samples = Samples([dataset], 0, augmentation(40), 1)
    taken(samples.batches(20, 0), 1)
    assert list(dataset.unreadable) == [dataset.names[19]]
    assert samples.failure is None


def test_too_many_damaged_images_end_the_iteration(datasets):
    """The error for the user is in `failure`."""
    _, dataset = datasets
    for number in (3, 8, 12):
        dataset.path(number).write_bytes(b"")
    samples = Samples(datasets, 1, augmentation(40), 1)
    with pytest.raises(tf.errors.OpError):
        taken(samples.batches(1, 0), 20)
    assert isinstance(samples.failure, UserError)
    assert "3 of the 20 images of" in str(samples.failure)


def test_all_damaged_after_most_were_held_out(datasets):
    """No image is left to replace a damaged one."""
    _, dataset = datasets
    dataset.keep([6])
    dataset.path(0).write_bytes(b"")
    samples = Samples([dataset], 0, augmentation(40), 1)
    with pytest.raises(tf.errors.OpError):
        taken(samples.batches(1, 0), 1)
    assert "1 of the 1 images" in str(samples.failure)


def test_batches_neither_skip_nor_repeat_samples(datasets):
    augment = Augmentation(96, 1, 1, 1, False, 0)
    shown = taken(Samples(datasets, 0.5, augment, 2).batches(3, 0), 5)
    frames = np.concatenate([frames for frames, _, _ in shown])
    assert len(np.unique(frames.reshape(len(frames), -1), axis=0)) == len(frames)
