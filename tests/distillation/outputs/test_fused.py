"""The fused output on a moving square, with a student that says what it is told to."""

import numpy as np
import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.distiller import Distiller
from jitnet_tf.distillation.outputs import flow
from jitnet_tf.distillation.outputs.fused import FusedOutput
from jitnet_tf.distillation.schedules.paper import Schedule
from jitnet_tf.distillation.stopwatch import Stopwatch
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.student.base import Trial
from teacher.detections import from_box_masks
from tests.distillation.scripted import assert_same_state
from tests.materials import square_scene

SIZE, CLASSES = (64, 96), 9
FRAMES, LABELS = square_scene(24)
MAKER = LabelMaker(class_groups("lvs"))


class Told:
    """A student that shows maps by frame number, sure of them by a margin.

    Attributes:
      seen: the numbers of the frames on which it was run.
    """

    def __init__(self, maps, margin=1.0):
        self.maps, self.margin, self.seen = maps, margin, []

    def infer_with_logits(self, frame):
        [number] = [i for i, picture in enumerate(FRAMES) if picture is frame]
        self.seen.append(number)
        found = self.maps[number]
        logits = self.margin * np.eye(CLASSES, dtype=np.float32)[found[::2, ::2]]
        return found, logits

    def attempt(self, frame, labels, weights, threshold):
        found = self.infer_with_logits(frame)[0]
        return Trial(found, metrics.confusion(labels, found, CLASSES))

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


NOTHING = [np.zeros(SIZE, np.uint8)] * len(FRAMES)


def output_of(maps=NOTHING, infer_every=1, margin=1.0):
    student = Told(maps, margin)
    return FusedOutput(student, SIZE, CLASSES, infer_every), student


def drive(output, teacher_frames, labels=LABELS, count=24):
    """Shows frames, labels those of `teacher_frames`; returns what was shown of each."""
    shown = []
    for t in range(count):
        if t in teacher_frames:
            asked = output.ask(FRAMES[t], t, Stopwatch(), is_segmented=False)
            output.learn(asked, FRAMES[t], labels[t], Stopwatch())
            shown.append(asked.shown)
        else:
            shown.append(output.segment(FRAMES[t], t, Stopwatch()))
    return shown


def iou(t, shown, label=1):
    return metrics.class_iou(metrics.confusion(label * LABELS[t], shown, CLASSES))[label]


def test_the_warped_label_is_shown_where_the_student_is_wrong():
    output, _ = output_of()
    shown = drive(output, {0})
    for t in range(1, 13):
        assert iou(t, shown[t]) > 0.7, t
        # It has moved: the label as it was would be less and less right.
        assert iou(t, shown[t]) > iou(t, LABELS[0])


def test_the_student_is_shown_where_it_is_sure_and_was_right():
    """The labels say that the warped person was wrong, time and again."""
    output, _ = output_of(margin=20.0)
    labels = [LABELS[t] if t % 4 == 0 else NOTHING[t] for t in range(len(FRAMES))]
    shown = drive(output, set(range(24)), labels)
    assert not shown[23].any()


def test_both_agreeing_are_shown_as_they_are():
    output, _ = output_of(LABELS)
    found = drive(output, {0})[1]
    assert iou(1, found) > 0.9


@pytest.mark.parametrize("infer_every", [1, 2])
def test_before_the_first_label_the_student_is_alone(infer_every):
    output, _ = output_of(LABELS, infer_every)
    shown = drive(output, set(), count=5)
    for t in range(0, 5, infer_every):
        np.testing.assert_array_equal(shown[t], LABELS[t])
    assert iou(1, shown[1]) > 0.8


@pytest.mark.parametrize("size", [(12, 20), (1, 1), (16, 640)])
def test_frames_that_dis_does_not_take_are_the_students(size):
    class Blank:
        runs = 0

        def infer_with_logits(self, frame):
            self.runs += 1
            half = -(-size[0] // 2), -(-size[1] // 2)
            return np.zeros(size, np.uint8), np.zeros((*half, CLASSES), np.float32)

    student = Blank()
    output = FusedOutput(student, size, CLASSES, infer_every=3)
    picture = np.zeros((*size, 3), np.uint8)
    asked = output.ask(picture, 0, Stopwatch(), is_segmented=False)
    counts = output.learn(asked, picture, np.ones(size, np.uint8), Stopwatch())
    assert counts[1, 0] == size[0] * size[1]
    if not flow.estimates(size):
        for t in range(1, 5):
            assert not output.segment(picture, t, Stopwatch()).any()
        assert student.runs == 5


@pytest.mark.parametrize("size", [(65, 97), (49, 64), (64, 700)])
def test_odd_and_wide_frames(size):
    """Half sizes are rounded up; wide frames have flow of a reduced size."""
    pictures, labels = square_scene(4, size=size)

    class Blank:
        def infer_with_logits(self, frame):
            half = -(-size[0] // 2), -(-size[1] // 2)
            return np.zeros(size, np.uint8), np.zeros((*half, CLASSES), np.float32)

    output = FusedOutput(Blank(), size, CLASSES)
    asked = output.ask(pictures[0], 0, Stopwatch(), is_segmented=False)
    output.learn(asked, pictures[0], labels[0], Stopwatch())
    shown = output.segment(pictures[1], 1, Stopwatch())
    assert (shown.dtype, shown.shape) == (np.uint8, size)
    assert metrics.class_iou(metrics.confusion(labels[1], shown, CLASSES))[1] > 0.7


def test_the_latest_label_is_the_key():
    output, _ = output_of()
    labels = [*LABELS[:8], *(2 * label for label in LABELS[8:])]
    shown = drive(output, {0, 8}, labels)
    assert iou(7, shown[7]) > 0.7
    assert set(np.unique(shown[9])) == {0, 2}
    assert iou(9, shown[9], label=2) > 0.7


@pytest.mark.parametrize(
    ("infer_every", "seen"),
    [
        (1, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        (2, [0, 2, 4, 5, 7, 9, 11]),
        (3, [0, 3, 5, 8, 11]),
        (100, [0, 5]),
    ],
)
def test_the_student_runs_on_every_so_many_th_frame_and_on_teacher_frames(infer_every, seen):
    output, student = output_of(infer_every=infer_every)
    shown = drive(output, {0, 5}, count=12)
    assert student.seen == seen
    for t in (1, 2, 6, 7):
        assert iou(t, shown[t]) > 0.7


def test_a_disagreement_is_given_on_the_frames_that_the_student_sees():
    output, student = output_of(infer_every=2)
    drive(output, {0}, count=1)
    compared = []
    for t in range(1, 8):
        output.segment(FRAMES[t], t, Stopwatch())
        if output.disagreement is not None:
            compared.append(t)
    assert compared == student.seen[1:] == [2, 4, 6]


@pytest.mark.parametrize("infer_every", [1, 4])
def test_nothing_is_carried_across_a_gap(infer_every):
    output, student = output_of(infer_every=infer_every)
    drive(output, {0}, count=2)
    late = output.ask(FRAMES[1], 1, Stopwatch(), is_segmented=True)
    output.forget(2)
    np.testing.assert_array_equal(output.segment(FRAMES[2], 2, Stopwatch()), NOTHING[2])
    assert student.seen[-1] == 2
    output.learn(late, FRAMES[1], LABELS[1], Stopwatch())  # of before the gap: no key
    assert "key/index" not in output.get_state()
    again, _ = output_of(infer_every=infer_every)
    again.set_state(output.get_state())
    assert_same_state(output.get_state(), again.get_state())
    assert not output.segment(FRAMES[3], 3, Stopwatch()).any()


def test_a_state_of_a_version_without_gaps_is_restored():
    output, _ = output_of()
    drive(output, {0}, count=3)
    state = output.get_state()
    older = {name: array for name, array in state.items() if name != "start"}
    again, _ = output_of()
    again.set_state(older)
    assert_same_state(again.get_state(), state)


def test_stages():
    output, _ = output_of(infer_every=2)
    expected = {0: {"infer", "flow", "fuse"}, 1: {"flow"}, 2: {"infer", "flow", "fuse"}}
    for t, stages in expected.items():
        watch = Stopwatch()
        output.segment(FRAMES[t], t, watch)
        assert set(watch.seconds) == stages


def test_the_confusion_is_of_what_was_shown_before_the_labels():
    output, _ = output_of()
    drive(output, {0}, count=5)
    asked = output.ask(FRAMES[5], 5, Stopwatch(), is_segmented=False)
    counts = output.learn(asked, FRAMES[5], LABELS[5], Stopwatch())
    np.testing.assert_array_equal(counts, metrics.confusion(LABELS[5], asked.shown, CLASSES))
    assert iou(5, asked.shown) > 0.7


def test_late_labels_are_of_the_requests_frame():
    output, student = output_of()
    drive(output, {0}, count=2)
    for t in (2, 3, 4):
        output.segment(FRAMES[t], t, Stopwatch())
        if t == 2:
            asked = output.ask(FRAMES[2], 2, Stopwatch(), is_segmented=True)
    assert student.seen == [0, 1, 2, 3, 4]  # the request needed no further run
    before = output.get_state()["gate/mean"]
    counts = output.learn(asked, FRAMES[2], LABELS[2], Stopwatch())
    np.testing.assert_array_equal(counts, metrics.confusion(LABELS[2], asked.shown, CLASSES))
    state = output.get_state()
    assert int(state["key/index"]) == 2
    np.testing.assert_array_equal(state["key/labels"], LABELS[2])
    assert (state["gate/mean"] != before).any()
    assert int(state["last/index"]) == 4
    assert "flow" not in state  # that to the earlier key is of no use
    assert iou(5, output.segment(FRAMES[5], 5, Stopwatch())) > 0.7


def test_a_request_on_a_frame_between_runs_the_student():
    output, student = output_of(infer_every=4)
    drive(output, set(), count=2)
    output.ask(FRAMES[1], 1, Stopwatch(), is_segmented=True)
    assert student.seen == [0, 1]


def distiller_of(infer_every=1, policy=None):
    student = Told(NOTHING)

    def teacher(frame, index):
        y, x = (int(axis.min()) for axis in np.nonzero(LABELS[index]))
        box = [[y / 64, x / 96, (y + 28) / 64, (x + 28) / 96]]
        return from_box_masks(box, [1], [0.9], np.ones((1, 4, 4)), SIZE)

    schedule = Schedule(min_stride=5, max_stride=5, max_updates=0)
    output = FusedOutput(student, SIZE, CLASSES, infer_every)
    return Distiller(student, teacher, MAKER, schedule, policy, output)


@pytest.mark.parametrize("infer_every", [1, 2])
@pytest.mark.parametrize("place", [1, 5, 6, 7, 8])
def test_resumes_exactly(infer_every, place):
    whole = distiller_of(infer_every)
    for t in range(place):
        whole.step(FRAMES[t])
    resumed = distiller_of(infer_every)
    resumed.set_state({name: array.copy() for name, array in whole.get_state().items()})
    for t in range(place, 14):
        one, other = whole.step(FRAMES[t]), resumed.step(FRAMES[t])
        np.testing.assert_array_equal(one.prediction, other.prediction)
        assert whole.output.disagreement == resumed.output.disagreement
    assert_same_state(whole.get_state(), resumed.get_state())


@pytest.mark.parametrize("infer_every", [1, 2])
def test_a_frame_can_be_taken_again_when_the_teacher_failed(infer_every):
    """As if for the first time: flow starts from the last frame's, not from its own."""
    straight, again = distiller_of(infer_every), distiller_of(infer_every)
    teacher = again.teacher
    for t in range(10):
        if t == 5:

            def fail(frame, index):
                raise UserError("it failed")

            before = again.get_state()
            again.teacher = fail
            for _ in range(2):
                with pytest.raises(UserError, match="it failed"):
                    again.step(FRAMES[t])
            assert_same_state(again.get_state(), before)
            again.teacher = teacher
        one, other = straight.step(FRAMES[t]), again.step(FRAMES[t])
        np.testing.assert_array_equal(one.prediction, other.prediction)
    assert_same_state(straight.get_state(), again.get_state())


def test_the_accuracy_shown_is_the_fused_maps():
    distiller = distiller_of()
    results = [distiller.step(FRAMES[t]) for t in range(6)]
    first, second = (result.teacher for result in results if result.teacher)
    assert first.accuracy_shown == 0
    assert second.accuracy_before == 0  # the student's
    assert second.accuracy_shown > 0.7


DAMAGE = {
    "no gate": lambda s: s.pop("gate/mean"),
    "gate": lambda s: s.update({"gate/mean": s["gate/mean"] * np.nan}),
    "no labels": lambda s: s.pop("key/labels"),
    "labels of another size": lambda s: s.update({"key/labels": np.zeros((3, 3), np.uint8)}),
    "labels of another type": lambda s: s.update({"last/labels": np.zeros(SIZE)}),
    "other classes": lambda s: s.update({"key/labels": np.full(SIZE, CLASSES, np.uint8)}),
    "gray": lambda s: s.update({"key/gray": np.zeros((64, 95), np.uint8)}),
    "flow of another size": lambda s: s.update({"flow": np.zeros((3, 3, 2), np.float32)}),
    "flow of another type": lambda s: s.update({"flow": np.zeros((*SIZE, 2))}),
    "flow not finite": lambda s: s.update({"flow": np.full((*SIZE, 2), np.nan, np.float32)}),
    "flow without key": lambda s: [s.pop(f"key/{n}") for n in ("index", "gray", "labels")],
    "no last frame": lambda s: [s.pop(f"last/{n}") for n in ("index", "gray", "labels")],
    "key later": lambda s: s.update({"key/index": np.array(99)}),
    "disagreement above 1": lambda s: s.update({"disagreement": np.array(1.5)}),
    "disagreement of no number": lambda s: s.update({"disagreement": np.array(np.nan)}),
    "seen later": lambda s: s.update({"seen": np.array(99)}),
    "not seen": lambda s: s.pop("seen"),
    "seen nothing": lambda s: s.update({"seen": np.array("x")}),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_states_are_refused(damage):
    output, _ = output_of()
    drive(output, {0}, count=4)
    state = output.get_state()
    damage(state)
    with pytest.raises((KeyError, ValueError)):
        output_of()[0].set_state(state)


def test_nothing_is_moved_into_the_ignored_region_nor_learned_there():
    """Where the person comes into it, and where it was before."""
    ignored = np.zeros(SIZE, bool)
    ignored[:, 20:] = True
    inside = [np.where(ignored, 0, label).astype(np.uint8) for label in LABELS]
    # What both make of the rest does not depend on what is in the region.
    student = Told(NOTHING)
    output = FusedOutput(student, SIZE, CLASSES, infer_every=2, ignored=ignored)
    free = FusedOutput(Told(NOTHING), SIZE, CLASSES, infer_every=2)
    for t in range(8):
        if t % 4 == 0:
            for one, labels in ((output, inside), (free, LABELS)):
                asked = one.ask(FRAMES[t], t, Stopwatch(), is_segmented=False)
                counts = one.learn(asked, FRAMES[t], labels[t], Stopwatch())
                if one is output:
                    shown = asked.shown
                    expected = metrics.confusion(inside[t], shown, CLASSES, ignored)
                    np.testing.assert_array_equal(counts, expected)
                    assert not ignored[::2, ::2][asked.disputed].any()
        else:
            shown = output.segment(FRAMES[t], t, Stopwatch())
            assert free.segment(FRAMES[t], t, Stopwatch())[ignored].any()
        assert not shown[ignored].any()
        assert t == 0 or shown.any()


def test_disagreement_in_the_ignored_region_is_none():
    """The student sees no person there, and the warped label moves it there."""
    ignored = np.zeros(SIZE, bool)
    ignored[32:] = ignored[:, 32:] = True
    maps = [np.where(ignored, 0, label).astype(np.uint8) for label in LABELS]
    free, _ = output_of(maps)
    output = FusedOutput(Told(maps), SIZE, CLASSES, ignored=ignored)
    for one in (free, output):
        drive(one, {0}, maps, count=12)
    assert free.disagreement > 0.2
    assert output.disagreement < 0.1
