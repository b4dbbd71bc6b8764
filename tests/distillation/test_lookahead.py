"""Labels from both sides: the frames in sight, whom the teacher is asked about when, the maps."""

import numpy as np
import pytest

from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.ahead import Ahead
from jitnet_tf.distillation.distiller import Distiller
from jitnet_tf.distillation.outputs.fused import FusedOutput
from jitnet_tf.distillation.outputs.student import StudentOutput
from jitnet_tf.distillation.schedules.budget import BudgetSchedule
from jitnet_tf.distillation.schedules.paper import Schedule
from jitnet_tf.distillation.stream import ScoredStream
from jitnet_tf.student.base import Trial
from teacher.detections import from_box_masks
from tests.distillation.scripted import MAKER, ScriptedStudent, frame, prediction
from tests.materials import SQUARE, square_scene, texture


def timed(frames):
    return (video.Frame(frame, index / 10) for index, frame in enumerate(frames))


# The frames in sight


def test_frames_in_sight_are_the_next_ones_and_no_more():
    read = []

    def source():
        for i in range(6):
            read.append(i)
            yield video.Frame(i, 0.0)

    ahead = Ahead(source(), 3)
    for i in range(6):
        assert next(ahead).pixels == i
        in_sight = [ahead.peek(n) for n in range(1, len(ahead) + 1)]
        assert in_sight == list(range(i + 1, min(i + 4, 6)))
        assert read == list(range(min(i + 4, 6)))
        assert ahead.ends == (i + 3 >= 6)
    assert next(ahead, None) is None


def test_an_error_of_the_source_comes_in_its_place():
    def source():
        yield from (video.Frame(i, 0.0) for i in range(3))
        raise UserError("it broke off")

    ahead = Ahead(source(), 5)
    assert [next(ahead).pixels for _ in range(3)] == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(UserError, match="it broke off"):
            next(ahead)


# Whom the teacher is asked about, and when


class Watching(StudentOutput):
    """Notes in the student's log what is ahead: L, then the frame and that of the labels."""

    def look_ahead(self, frames, labels, index, watch):
        numbers = [int(each[0, 0, 0]) for each in frames]
        assert numbers == list(range(index, index + len(frames)))
        np.testing.assert_array_equal(labels, prediction(10))
        self._student.log.append(f"L{index}-{numbers[-1]}")


def distiller_of(student, schedule):
    output = Watching(student)
    return Distiller(student, student.teacher, MAKER, schedule, output=output, looks_ahead=True)


def run(student, schedule, count):
    distiller = distiller_of(student, schedule)
    return list(ScoredStream(timed(map(frame, range(count))), distiller, MAKER))


def test_a_stream_worked_out():
    # 0 → δ = 4; 4 is not good enough → δ = 2; 6 → δ = 4; 8 → δ = 4; 11 is the last frame
    script = [10, 1, 1, 1, 8, 1, 9, 1, 9, 1, 1, 9]
    student = ScriptedStudent(script)
    results = run(student, Schedule(min_stride=2, max_stride=4), 12)
    assert " ".join(student.log) == (
        "T0 A0 T4 L1-4 I1 I2 I3 A4 T6 L5-6 I5 A6 T8 L7-8 I7 A8 T11 L9-11 I9 I10 A11"
    )
    ahead = [None, 4, 4, 4, None, 6, None, 8, None, 11, 11, None]
    assert [result.ahead for result in results] == ahead
    assert [r.index for r in results if r.is_teacher_frame] == [0, 4, 6, 8, 11]
    assert [r.stride for r in results] == [4, 4, 4, 4, 2, 2, 4, 4, 4, 4, 4, 4]
    for result in results:
        assert ("teacher" in result.seconds) == result.is_teacher_frame
    seen = [int(each[0, 0, 0]) for each in student.teacher_saw]
    assert seen == [0, 4, 6, 8, 11]


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize("budget", [0.1, 0.25])
def test_the_budget_holds_on_every_frame(count, budget):
    student = ScriptedStudent([9] * count)
    schedule = BudgetSchedule(min_stride=2, budget=budget)
    asked = [r.index for r in run(student, schedule, count) if r.is_teacher_frame]
    for t in range(count):
        assert sum(index <= t for index in asked) <= budget * t + 1
    assert len(asked) == len(student.teacher_saw)
    assert (len(asked) > 2) == (count == 30)


def test_without_frames_in_sight_it_is_causal():
    student = ScriptedStudent([9] * 6)
    distiller = distiller_of(student, Schedule(min_stride=4, max_stride=4))
    results = [distiller.step(frame(t)) for t in range(6)]
    assert " ".join(student.log) == "T0 A0 I1 I2 I3 T4 A4 I5"
    assert all(result.ahead is None for result in results)


def test_a_teacher_that_fails_ahead_leaves_the_stream_before_the_frame():
    student = ScriptedStudent([9] * 6)
    answer, failing = student.teacher, [True]

    def teacher(frame, index):
        if index == 4 and failing:
            failing.clear()
            raise UserError("it failed")
        return answer(frame, index)

    distiller = distiller_of(student, Schedule(min_stride=4, max_stride=4))
    distiller.teacher = teacher
    frames = distiller.attach(timed(map(frame, range(6))))
    distiller.step(next(frames).pixels)
    taken, before = next(frames).pixels, distiller.get_state()
    with pytest.raises(UserError, match="it failed"):
        distiller.step(taken)
    assert distiller.get_state() == before
    assert distiller.step(taken).ahead == 4


# The maps


class Learner:
    """Sees what is bright, less of it the fewer updates it has had, and is never sure."""

    def __init__(self):
        self.updates = 0
        self.inferred = []

    def infer_with_logits(self, frame):
        bright = frame.mean(-1)
        logits = np.zeros((*bright.shape, len(MAKER.groups.names)), np.float32)
        logits[..., 1] = (bright - 215 + 5 * self.updates) / 200
        self.inferred.append(frame)
        return logits.argmax(-1).astype(np.uint8), logits[::2, ::2]

    def attempt(self, frame, labels, weights, threshold):
        found, _ = self.infer_with_logits(frame)
        counts = metrics.confusion(labels, found, len(MAKER.groups.names))
        if metrics.mean_iou(counts) >= threshold:
            return Trial(found, counts)
        self.updates += 1
        return Trial(found, counts, 1.0)

    def get_state(self):
        return {"updates": np.array(self.updates)}

    def set_state(self, state):
        self.updates = int(state["updates"])


class Scene:
    """A stream with its teacher, and the distillers on it.

    pictures, labels: see `square_scene`.
    """

    def __init__(self, pictures, labels):
        self.pictures, self.labels = pictures, labels
        self.asked = []

    def teacher(self, frame, index):
        np.testing.assert_array_equal(frame, self.pictures[index])
        self.asked.append(index)
        H, W = self.labels[index].shape
        return from_box_masks(
            *([[0, 0, 1, 1]], [1], [0.9], self.labels[index][None].astype(float), (H, W))
        )

    def distiller(self, looks_ahead=True, infer_every=1, stride=6):
        student = Learner()
        schedule = Schedule(max_updates=1, min_stride=stride, max_stride=stride)
        output = FusedOutput(student, self.labels[0].shape, len(MAKER.groups.names), infer_every)
        made = (student, self.teacher, MAKER, schedule)
        return Distiller(*made, output=output, looks_ahead=looks_ahead)

    def run(self, distiller, first=0, end=None):
        """Returns the results of frames first … end - 1, with the whole stream in sight."""
        frames = distiller.attach(timed(self.pictures[first:]))
        return [distiller.step(next(frames).pixels) for _ in range(first, end or len(self.labels))]


@pytest.fixture
def moving():
    return Scene(*square_scene(20, (1, 2)))


def equal(one, other):
    """Asserts that two states are equal, but for times."""
    assert one.keys() == other.keys()
    for name in one.keys() - {"ahead/seconds"}:
        np.testing.assert_array_equal(one[name], other[name], name)


@pytest.mark.parametrize("infer_every", [1, 2, 4])
def test_resumed_at_any_frame_it_goes_on_to_the_bit(moving, infer_every):
    whole = moving.distiller(infer_every=infer_every)
    results = moving.run(whole)
    asked = moving.asked.copy()
    assert asked == [0, 6, 12, 18]
    for place in range(1, len(results)):
        moving.asked.clear()
        first = moving.distiller(infer_every=infer_every)
        moving.run(first, 0, place)
        second = moving.distiller(infer_every=infer_every)
        second.set_state(first.get_state())
        again = moving.run(second, place)
        assert moving.asked == asked  # each once
        for one, other in zip(results[place:], again, strict=True):
            np.testing.assert_array_equal(one.prediction, other.prediction)
            assert (one.ahead, one.updates) == (other.ahead, other.updates)
        equal(whole.get_state(), second.get_state())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", np.zeros((4, 4), np.uint8)),
        ("labels", np.zeros(4, np.uint8)),
        ("labels", np.full((64, 96), 255, np.uint8)),
        ("weights", np.zeros((64, 96))),
        ("weights", np.full((64, 96), -1, np.float32)),
        ("index", np.array(1)),
        ("seconds", np.zeros(7)),
    ],
)
def test_a_damaged_answer_ahead_is_refused(moving, name, value):
    distiller = moving.distiller()
    moving.run(distiller, 0, 3)
    state = distiller.get_state()
    moving.distiller().set_state(state)
    with pytest.raises(ValueError, match=r"\d"):
        moving.distiller().set_state({**state, f"ahead/{name}": value})


@pytest.mark.parametrize("infer_every", [1, 2])
def test_only_the_maps_between_teacher_frames_differ(moving, infer_every):
    causal = moving.run(moving.distiller(False, infer_every))
    both = moving.run(moving.distiller(True, infer_every))
    for one, other in zip(causal, both, strict=True):
        assert (one.is_teacher_frame, one.updates) == (other.is_teacher_frame, other.updates)
        if one.is_teacher_frame:
            assert one.teacher.accuracy_shown == other.teacher.accuracy_shown
            np.testing.assert_array_equal(one.prediction, other.prediction)
    differ = [
        r.index for r, s in zip(causal, both, strict=True) if (r.prediction != s.prediction).any()
    ]
    assert differ


def test_what_appears_is_known_from_its_first_frame():
    """The student sees nothing of it: it is dark."""
    wall, patch = texture((64, 96), 0, 60, 120), texture((SQUARE, SQUARE), 1, 0, 50)
    pictures, labels = [], []
    for t in range(13):
        picture, label = wall.copy(), np.zeros(wall.shape[:2], np.uint8)
        if t >= 8:
            picture[20 : 20 + SQUARE, 30 : 30 + SQUARE] = patch
            label[20 : 20 + SQUARE, 30 : 30 + SQUARE] = 1
        pictures.append(picture)
        labels.append(label)
    scene = Scene(pictures, labels)
    results = scene.run(scene.distiller(stride=6))
    for t in (7, 8, 9, 10, 11):
        counts = metrics.confusion(labels[t], results[t].prediction, len(MAKER.groups.names))
        assert metrics.mean_iou(counts) > 0.85, t
    causal = scene.run(scene.distiller(False, stride=6))
    assert not any(causal[t].prediction.any() for t in range(8, 12))
