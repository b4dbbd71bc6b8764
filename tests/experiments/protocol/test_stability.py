"""Flicker of sequences by hand."""

import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.protocol import stability
from experiments.protocol.stability import Flicker, consistent, flicker
from tests.materials import square_scene, texture

SIZE = (12, 16)


def constant(dx, dy, size=SIZE):
    return np.broadcast_to(np.float32([dx, dy]), (*size, 2)).copy()


def still(frame, other):
    """The flow of a scene at rest."""
    return constant(0, 0, frame.shape[:2])


def result(index, prediction, reference=None, frame=None):
    reference = prediction if reference is None else reference
    frame = np.zeros((*prediction.shape, 3), np.uint8) if frame is None else frame
    return types.SimpleNamespace(
        index=index,
        frame=frame,
        prediction=prediction,
        reference=types.SimpleNamespace(labels=reference),
    )


def mask(rows=slice(0), columns=slice(None), class_id=1):
    labels = np.zeros(SIZE, np.uint8)
    labels[rows, columns] = class_id
    return labels


def measure(predictions, estimator=still, references=None, frames=None, num_classes=3):
    measured = Flicker(num_classes, estimator)
    for i, prediction in enumerate(predictions):
        measured.add(
            result(
                i,
                prediction,
                references[i] if references else None,
                frames[i] if frames else None,
            )
        )
    return measured


# Where two flows agree


def test_flows_that_undo_each_other_agree_inside_the_frame():
    agree = consistent(constant(3, -2), constant(-3, 2))
    expected = np.zeros(SIZE, bool)
    expected[2:, :-3] = True  # others come from outside
    np.testing.assert_array_equal(agree, expected)
    assert consistent(constant(0, 0), constant(0, 0)).all()


@pytest.mark.parametrize(
    ("forward", "backward", "agree"),
    [
        ((0, 0), (0.7, 0), True),  # .49 < .01·.49 + .5
        ((0, 0), (0.72, 0), False),  # .5184 > .01·.5184 + .5
        ((4, 0), (-3.1, 0), False),  # .81 > .01·(16 + 9.61) + .5 = .7561
        ((4, 0), (-3.2, 0), True),  # .64 < .01·(16 + 10.24) + .5
        ((2, 1), (2, 1), False),
    ],
)
def test_flows_agree_within_the_published_tolerance(forward, backward, agree):
    """Sundaram et al.: |f + b|² < .01 (|f|² + |b|²) + .5."""
    found = consistent(constant(*forward), constant(*backward))
    assert found[4, 5] == agree


def test_the_flow_back_is_read_where_the_flow_leads():
    forward, backward = constant(0, 0), constant(0, 0)
    forward[3, 4] = (2, 1)
    backward[4, 6] = (-2, -1)
    agree = consistent(forward, backward)
    assert agree[3, 4]
    assert not agree[4, 6]  # from there the way back leads elsewhere
    assert agree.sum() == agree.size - 1


# Sequences


def test_a_scene_at_rest_does_not_flicker():
    measured = measure([mask(slice(2, 5))] * 10)
    assert flicker(measured.prediction, [1]) == 0
    assert flicker(measured.reference, [1]) == 0


def test_a_mask_that_blinks():
    """Every third pair is measured: 2→3, 5→6, 8→9. 3 rows of 16 in the mask that blinks."""
    there, gone = mask(slice(2, 5)), mask()
    steady, blinking = [there] * 10, [there, gone] * 5
    measured = measure(blinking, references=steady)
    # 2→3 and 8→9: vanishes; 5→6: appears: no pixel has the class in both frames.
    assert flicker(measured.prediction, [1]) == 1
    assert flicker(measured.reference, [1]) == 0
    background = 9 * 16
    np.testing.assert_array_equal(
        measured.prediction, [[3 * background, 48, 0], [2 * 48, 0, 0], [0, 0, 0]]
    )
    np.testing.assert_array_equal(
        measured.reference, [[3 * background, 0, 0], [0, 3 * 48, 0], [0, 0, 0]]
    )


def test_flicker_by_hand():
    """Masks of 4, then 3 of the same rows (2→3), of 2 and 2 (5→6): IoU 5 / 6."""
    predictions = [mask()] * 7
    predictions[2], predictions[3] = mask(slice(0, 4)), mask(slice(1, 4))
    predictions[5] = predictions[6] = mask(slice(6, 8))
    measured = measure(predictions)
    assert flicker(measured.prediction, [1]) == pytest.approx(1 / 6)


def test_rows_are_the_previous_frames():
    predictions = [mask()] * 4
    predictions[2], predictions[3] = mask(slice(2), class_id=1), mask(slice(3), class_id=2)
    counts = measure(predictions).prediction
    assert counts[1, 2] == 2 * 16
    assert counts[0, 2] == 16
    assert counts[2].sum() == 0


def test_mean_over_the_evaluated_classes():
    counts = [[100, 0, 0], [0, 30, 10], [0, 0, 60]]
    one, two = 30 / 40, 60 / 70
    assert flicker(counts, [1]) == pytest.approx(1 - one)
    assert flicker(counts, [1, 2]) == pytest.approx(1 - (one + two) / 2)
    assert flicker(np.diag([5, 0, 7]), [1, 2]) == 0  # class 1 is never there
    assert flicker(np.diag([5, 0, 0]), [1, 2]) is None
    assert flicker(np.zeros((3, 3), int), [1]) is None


def test_a_mask_that_moves_with_its_scene_does_not_flicker():
    """Uses the true flow: two pixels to the right a frame."""
    predictions = [mask(slice(2, 8), slice(2 * i, 2 * i + 4)) for i in range(7)]
    numbers = np.arange(7, dtype=np.uint8)
    frames = [np.full((*SIZE, 3), number) for number in numbers]

    def true_flow(frame, other):
        return constant(2 * (int(other[0, 0, 0]) - int(frame[0, 0, 0])), 0)

    measured = measure(predictions, true_flow, frames=frames)
    assert flicker(measured.prediction, [1]) == 0
    # Columns that enter are not counted.
    assert measured.prediction.sum() == 2 * SIZE[0] * (SIZE[1] - 2)
    # A mask that stays behind while the scene moves: 2 of its 4 columns are new, 2 are left.
    stuck = measure([mask(slice(2, 8), slice(6, 10))] * 7, true_flow, frames=frames)
    assert flicker(stuck.prediction, [1]) == pytest.approx(1 - 2 / 6)


def test_pixels_of_unknown_flow_do_not_count():
    """Pixels whose forward and backward flow differ are occluded."""
    flows = iter([constant(0, 0), constant(0, 0)])
    hidden = constant(0, 0)
    hidden[:, :8] = (5, 0)

    def half_known(frame, other):
        return next(flows, None) if frame.max() else hidden

    blank, now = np.zeros((*SIZE, 3), np.uint8), np.ones((*SIZE, 3), np.uint8)
    predictions = [mask(), mask(), mask(slice(4), slice(0, 6)), mask()]
    measured = measure(predictions, half_known, frames=[blank, blank, blank, now])
    assert measured.prediction.sum() == SIZE[0] * 8
    assert measured.prediction[1].sum() == 0  # the mask that vanished is in the hidden half


@pytest.mark.parametrize("speed", [(0, 0), (1, 1), (0, 2)])
def test_the_square_by_estimated_flow(speed):
    frames, labels = square_scene(16, speed)
    blinking = [label * (i % 3 > 0) for i, label in enumerate(labels)]
    measured = measure(blinking, None, labels, frames)
    assert flicker(measured.reference, [1]) < 0.05
    assert flicker(measured.prediction, [1]) > 0.95


def test_a_camera_that_pans_by_estimated_flow():
    wide = texture((48, 140), 3)
    frames = [np.ascontiguousarray(wide[:, 3 * i : 3 * i + 64]) for i in range(13)]
    where = np.zeros((48, 140), np.uint8)
    where[10:40, 20:70] = 1
    labels = [where[:, 3 * i : 3 * i + 64] for i in range(13)]
    measured = measure(labels, None, frames=frames)
    assert flicker(measured.prediction, [1]) < 0.03


@given(st.integers(0, 20))
def test_every_third_pair_is_measured_and_one_frame_kept(count):
    measured = Flicker(2, still)
    for i in range(count):
        measured.add(result(i, mask()))
    pairs = len([i for i in range(1, count) if i % stability.PAIR_DISTANCE == 0])
    assert measured.prediction.sum() == pairs * SIZE[0] * SIZE[1]
