"""jitnet_tf.distillation.distiller: Algorithm 1 on a scripted student, against traces worked out by hand."""

import numpy as np
import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation.distiller import Distiller, DivergedError
from jitnet_tf.distillation.schedule import Schedule
from jitnet_tf.labels import LabelMaker, class_groups
from teacher.detections import from_box_masks

SIZE = (10, 20)
# Ten pixels of person. A prediction of k of them has IoU k / 10 with the labels.
PERSON = from_box_masks([[0.2, 0.25, 0.3, 0.75]], [1], [0.9], np.ones((1, 4, 4)), SIZE)
NOBODY = PERSON.above(1.0)
MAKER = LabelMaker(class_groups("lvs"))


def prediction(k):
    """The map of a student that finds k of the ten pixels."""
    labels = np.zeros(SIZE, np.uint8)
    labels[2, 5 : 5 + k] = 1
    return labels


class Stage:
    """A student and a teacher that write down what they are asked, in order.

    script: tenths of IoU that the student reaches, one an inference. losses: one an update.
    """

    def __init__(self, script, losses=None, seen=PERSON):
        self.script = iter(script)
        self.losses = losses
        self.seen = seen
        self.log = []
        self.updated_with = []
        self.teacher_saw = []

    def infer(self, frame):
        self.log.append("I")
        return prediction(next(self.script))

    def update(self, frame, labels, weights):
        self.log.append("U")
        self.updated_with.append((frame, labels, weights))
        return next(self.losses) if self.losses else 1 / len(self.updated_with)

    def attempt(self, frame, labels, weights, wants_update):
        return self.update(frame, labels, weights) if wants_update(self.infer(frame)) else None

    def teacher(self, frame, index):
        self.log.append(f"T{index}")
        self.teacher_saw.append(frame)
        return self.seen


def frame(t):
    return np.full((*SIZE, 3), t, np.uint8)


def distill(stage, frames, **options):
    """Runs so many frames; checks that the script was used up."""
    schedule = Schedule(**{"min_stride": 2, "max_stride": 8, "max_updates": 2, **options})
    distiller = Distiller(stage, stage.teacher, MAKER, schedule)
    results = [distiller.step(frame(t)) for t in range(frames)]
    assert next(stage.script, None) is None, "fewer inferences than worked out"
    return results


def test_the_stage_itself():
    labels = MAKER.labels(PERSON, SIZE)
    np.testing.assert_array_equal(labels, prediction(10))


def test_a_stream_worked_out():
    # δ from 2 to 8, at most 2 updates a frame, threshold .8
    # fmt: off
    script = [
        3, 5, 9,        # t = 0: two updates, the most; .9 > .8 though: δ = 4
        1, 2, 3,        # 1, 2, 3
        8,              # 4: .8 is enough to train no more, and not for a longer stride: δ = 2
        4,              # 5
        2, 8,           # 6: one update; again .8: δ = 2, the least
        4,              # 7
        10,             # 8: δ = 4
        5, 5, 5,        # 9, 10, 11
        9,              # 12: δ = 8
        5, 5, 5,        # 13, 14, 15
        10,             # 16: δ = 8, the most
        6, 6, 6, 6, 6, 6, 6,  # 17 … 23
        0, 1, 2,        # 24: two updates, still bad: δ = 4
        7, 7, 7,        # 25, 26, 27
        0, 9,           # 28: one update: δ = 8
        7,              # 29
    ]
    # fmt: on
    stage = Stage(script)
    results = distill(stage, 30)

    assert "".join(stage.log) == (
        "T0IUIUI" + "III" + "T4I" + "I" + "T6IUI" + "I" + "T8I" + "III" + "T12I" + "III"
        "T16I" + "IIIIIII" + "T24IUIUI" + "III" + "T28IUI" + "I"
    )
    asked = [result.index for result in results if result.is_teacher_frame]
    assert asked == [0, 4, 6, 8, 12, 16, 24, 28]
    assert [result.updates for result in results if result.is_teacher_frame] == [
        *(2, 0, 1, 0, 0, 0, 2, 1)
    ]
    # fmt: off
    assert [result.stride for result in results] == [
        4, 4, 4, 4, 2, 2, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 4, 4, 4, 4, 8, 8,
    ]
    # fmt: on
    before = [result.accuracy_before for result in results if result.is_teacher_frame]
    after = [result.accuracy_after for result in results if result.is_teacher_frame]
    assert before == [0.3, 0.8, 0.2, 1.0, 0.9, 1.0, 0.0, 0.0]
    assert after == [0.9, 0.8, 0.8, 1.0, 0.9, 1.0, 0.2, 0.9]


def test_the_papers_defaults_worked_out():
    # A student that is bad on the first frame whatever is done, then good:
    # 9 checks and 8 updates at 0, δ stays 8; good at 8 → 16, at 16 → 32, at 32 → 64, at 64.
    script = [5] * 9 + [0] * 7 + [9] + [0] * 7 + [9] + [0] * 15 + [9] + [0] * 31 + [9]
    stage = Stage(script)
    schedule = Schedule()
    distiller = Distiller(stage, stage.teacher, MAKER, schedule)
    results = [distiller.step(frame(t)) for t in range(65)]
    assert [(r.index, r.updates, r.stride) for r in results if r.is_teacher_frame] == [
        *((0, 8, 8), (8, 0, 16), (16, 0, 32), (32, 0, 64), (64, 0, 64))
    ]
    assert stage.log[:18] == ["T0", *["I", "U"] * 8, "I"]


def test_the_prediction_on_a_teacher_frame_is_the_students_after_the_updates():
    results = distill(Stage([3, 5, 9, 4]), 2)
    np.testing.assert_array_equal(results[0].prediction, prediction(9))
    np.testing.assert_array_equal(results[1].prediction, prediction(4))


def test_confusion_is_that_of_the_prediction_before_the_updates():
    (result,) = distill(Stage([3, 5, 9]), 1)
    assert result.confusion[1, 1] == 3
    assert result.confusion[1, 0] == 7
    assert result.confusion[0, 0] == 190
    assert result.confusion.sum() == 200
    assert result.confusion.shape == (9, 9)


def test_what_a_frame_without_teacher_says():
    result = distill(Stage([9, 4]), 2)[1]
    assert not result.is_teacher_frame
    assert result.updates == 0
    for name in ("labels", "confusion", "accuracy_before", "accuracy_after"):
        assert getattr(result, name) is None
    assert result.index == 1
    np.testing.assert_array_equal(result.frame, frame(1))


def test_updates_get_the_frame_and_the_teachers_labels_and_weights():
    stage = Stage([3, 5, 9, 0, 3, 10])
    results = distill(stage, 3, max_stride=2)
    assert len(stage.updated_with) == 3
    for at, (seen, labels, weights) in zip((0, 0, 2), stage.updated_with, strict=True):
        np.testing.assert_array_equal(seen, frame(at))
        np.testing.assert_array_equal(labels, prediction(10))
        np.testing.assert_array_equal(weights, MAKER.weights(PERSON, SIZE))
        assert weights.max() == 5
    assert [float(seen[0, 0, 0]) for seen in stage.teacher_saw] == [0, 2]
    np.testing.assert_array_equal(results[2].labels, prediction(10))
    assert results[0].losses == [1, 1 / 2]
    assert results[1].losses == []
    assert results[2].losses == [1 / 3]


def test_nobody_there_and_nobody_seen_is_right():
    stage = Stage([0], seen=NOBODY)
    (result,) = distill(stage, 1)
    assert (result.accuracy_before, result.updates, result.stride) == (1.0, 0, 4)
    assert result.is_teacher_frame
    assert stage.log == ["T0", "I"]


def test_nobody_there_and_somebody_seen_is_wrong():
    stage = Stage([1, 1, 0], seen=NOBODY)
    (result,) = distill(stage, 1)
    assert (result.accuracy_before, result.accuracy_after, result.updates) == (0.0, 1.0, 2)


def test_without_updates_the_stride_still_follows():
    # 0: bad, δ = 2; 2: good, δ = 4; 4: bad, δ = 2; 6: good, δ = 4
    stage = Stage([5, 5, 9, 5, 5, 5, 9])
    results = distill(stage, 7, max_updates=0, max_stride=4)
    assert "U" not in stage.log
    assert [r.index for r in results if r.is_teacher_frame] == [0, 2, 4, 6]
    assert [r.stride for r in results] == [2, 2, 4, 4, 2, 2, 4]


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_divergence_is_an_error_the_user_can_mend(loss):
    stage = Stage([9, 9, 3, 3], losses=iter([0.5, loss, 0.5]))
    distiller = Distiller(stage, stage.teacher, MAKER, Schedule(min_stride=2, max_stride=2))
    for t in range(2):
        distiller.step(frame(t))
    with pytest.raises(DivergedError, match=r"diverged at frame 2 \(loss .*lower --learning_rate"):
        distiller.step(frame(2))
    assert issubclass(DivergedError, UserError)
    assert stage.log[-4:] == ["I", "U", "I", "U"]  # and nothing after the bad one


def test_goes_on_from_a_saved_place():
    script = [3, 5, 9, 1, 2, 3, 8, 4, 2, 8, 4, 10]
    whole = [(r.stride, r.updates) for r in distill(Stage(script), 9)]
    stage = Stage(script[5:])
    schedule = Schedule(min_stride=2, max_stride=8, max_updates=2, stride=whole[2][0])
    distiller = Distiller(stage, stage.teacher, MAKER, schedule)
    distiller.index = 3
    results = [distiller.step(frame(t)) for t in range(3, 9)]
    assert [(r.stride, r.updates) for r in results] == whole[3:]
    assert [r.index for r in results] == [3, 4, 5, 6, 7, 8]
    assert [entry for entry in stage.log if entry[0] == "T"] == ["T4", "T6", "T8"]


def test_time_is_told_by_stage():
    results = distill(Stage([3, 9, 4]), 2)
    assert set(results[0].seconds) == {"teacher", "labels", "infer", "score", "update"}
    assert set(results[1].seconds) == {"infer"}
    assert all(seconds >= 0 for result in results for seconds in result.seconds.values())


def test_what_is_told_is_of_the_frame_itself():
    results = distill(Stage([3, 9, 4]), 2)
    assert results[0].teacher_frame is results[0].frame
    assert (results[0].teacher_index, results[0].staleness) == (0, 0)
    np.testing.assert_array_equal(results[0].teacher_prediction, results[0].prediction)
    assert results[1].teacher_frame is results[1].teacher_index is None
    for result in results:  # the frame waits for all of it
        assert result.latency == sum(result.seconds.values())
