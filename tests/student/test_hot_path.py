"""The cost of a frame, in counts: traces, operations at full size, copies, allocations.

No test measures time, but more of any of these makes frames slower.
"""

import gc
import itertools
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras
from tensorflow.python.framework import constant_op

from jitnet_tf.distillation.distiller import Distiller
from jitnet_tf.distillation.outputs.fused import FusedOutput
from jitnet_tf.distillation.policies.replay import ReplayPolicy
from jitnet_tf.distillation.schedules.paper import Schedule
from jitnet_tf.distillation.stream import ScoredStream
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.student import fused_head
from jitnet_tf.student.jitnet import build_jitnet
from jitnet_tf.student.student import Student
from jitnet_tf.video import Frame
from teacher import Teacher
from teacher.detections import Detections

SIZE = (160, 192)
PIXELS = SIZE[0] * SIZE[1]
FRAME, CLASS_MAP = 3 * PIXELS, PIXELS  # bytes
MAKER = LabelMaker(class_groups("lvs"))
NUM_CLASSES = len(MAKER.groups.names)
KEPT_BY_STUDENTS = ("_greatest", "_loss", "_pixel_gradients", "_resize_gradient")
NOTHING = Detections(
    np.zeros((0, 4), np.float32),
    np.zeros(0, np.int32),
    np.zeros(0, np.float32),
    (),
    np.zeros((0, 2), np.int32),
)


def new_student(size=SIZE, **options):
    keras.utils.set_random_seed(0)
    fused = options.pop("fused", True)
    model = build_jitnet(NUM_CLASSES, width=0.25, frame_size=size, **options)
    return Student(model, size, fused=fused)


@pytest.fixture(scope="module")
def traced():
    """A student that has run, and how often its parts have been traced for it."""
    parts = [getattr(fused_head, name) for name in KEPT_BY_STUDENTS]
    before = [part.experimental_get_tracing_count() for part in parts]
    made = new_student()
    made.warm_up(frame(0))
    made.update(*example(0))
    made.infer_with_logits(frame(0))
    after = [part.experimental_get_tracing_count() for part in parts]
    return made, [b - a for a, b in zip(before, after, strict=True)]


@pytest.fixture
def student(traced):
    return traced[0]


def steps(student):
    """The compiled steps."""
    return student._infer, student._infer_with_logits, student._update, student._attempt


def frame(seed):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def example(seed):
    """The arguments of an update."""
    labels = np.random.default_rng(seed).integers(0, NUM_CLASSES, SIZE).astype(np.uint8)
    return frame(seed), labels, np.ones(SIZE, np.float32)


# Traces: each takes seconds, possibly in the middle of a stream.


def test_steps_are_traced_once(student):
    for i in range(5):
        student.infer(frame(i))
        student.infer_with_logits(frame(i))
        student.update(*example(i))
        student.attempt(*example(i), float(i % 2) * 2)
        student.set_learning_rate(0.01 / (i + 1))
    student.set_state(student.get_state())
    student.warm_up(frame(6))
    student.infer(frame(7)[::-1])
    student.update(*example(8))
    student.attempt(*example(9), 2.0)
    assert [step.experimental_get_tracing_count() for step in steps(student)] == [1] * 4


def test_loops_are_compiled_once_for_all_phases(traced):
    """XLA compiles each trace: four times as many would delay the start by seconds."""
    assert dict(zip(KEPT_BY_STUDENTS, traced[1], strict=True)) == dict.fromkeys(KEPT_BY_STUDENTS, 1)


# Operations at full size: at 720p each reads and writes megabytes.


def operations(step):
    """All operations of a step, including those of called functions."""
    seen, graphs = set(), [step.get_concrete_function().graph]
    while graphs:
        graph = graphs.pop()
        yield from graph.get_operations()
        # A graph's functions have no public name in any supported TensorFlow.
        for name, function in graph._functions.items():
            if name not in seen:
                seen.add(name)
                graphs.append(function.graph)


def pixels_and_channels(shape):
    """Counts of a map in any layout, or of a list of pixels."""
    *rest, low, high = sorted(shape)
    if high >= PIXELS:
        return high, low * int(np.prod(rest))
    return low * high, int(np.prod(rest))


def many_channels_at_full_size(step):
    """The operations with float outputs of full size in more than three channels."""
    found = []
    for operation in operations(step):
        for tensor in operation.outputs:
            if not tensor.dtype.is_floating:
                continue
            if not tensor.shape.is_fully_defined():
                # Kept for the gradient of the normalization, a few numbers a channel.
                assert operation.type in ("FusedBatchNormV3", "ZerosLike", "Placeholder")
                continue
            if tensor.shape.rank >= 2:
                pixels, channels = pixels_and_channels(tensor.shape)
                if pixels >= PIXELS and channels > 3:
                    found.append(operation.name)
    return found


def frames_converted(step):
    """The operations that convert a frame's bytes to another type."""
    return [
        operation.type
        for operation in operations(step)
        if any(t.dtype == tf.uint8 and t.shape.num_elements() == FRAME for t in operation.inputs)
        and all(tensor.dtype != tf.uint8 for tensor in operation.outputs)
    ]


def test_no_logit_at_full_size(student):
    """The frame itself has three channels, and class ids, labels and weights one."""
    for step in steps(student):
        assert len(list(operations(step))) > 100
        assert many_channels_at_full_size(step) == []


def test_logits_at_full_size_would_be_found():
    plain = new_student(fused=False)
    for step, least in ((plain._infer, 2), (plain._update, 4)):
        assert len(many_channels_at_full_size(step)) >= least


def test_a_frame_is_converted_once(student):
    """A float takes four times the memory of a byte."""
    for step in steps(student):
        assert frames_converted(step) == ["Cast"]


# Copies between numpy and TensorFlow, which on a GPU are transfers


@pytest.fixture
def copies(monkeypatch):
    """Records the shapes of arrays copied to TensorFlow and back.

    Where these pass has no public name: should a TensorFlow move it, the lists are empty and the
    tests fail.
    """
    to_tensors, to_arrays = [], []
    to_tensor = constant_op.convert_to_eager_tensor
    eager_tensor = type(tf.constant(0))
    to_array = eager_tensor._numpy

    def spy_on_arguments(value, *arguments, **options):
        if isinstance(value, np.ndarray):
            to_tensors.append(value.shape)
        return to_tensor(value, *arguments, **options)

    def spy_on_results(tensor):
        to_arrays.append(tuple(tensor.shape))
        return to_array(tensor)

    monkeypatch.setattr(constant_op, "convert_to_eager_tensor", spy_on_arguments)
    monkeypatch.setattr(eager_tensor, "_numpy", spy_on_results)
    return to_tensors, to_arrays


def test_inference_copies_the_frame_and_class_ids(student, copies):
    picture = frame(0)
    student.infer(picture)
    assert copies == ([(*SIZE, 3)], [SIZE])


def test_inference_for_fusion_shows_the_logits_at_half_size_without_a_copy(student, copies):
    _, logits = student.infer_with_logits(frame(0))
    assert copies == ([(*SIZE, 3)], [SIZE])
    assert logits.shape == (SIZE[0] // 2, SIZE[1] // 2, NUM_CLASSES)
    assert not logits.flags.writeable
    expected = student.infer_with_logits(frame(0))[1]
    student.infer_with_logits(frame(1))  # does not write over it
    np.testing.assert_array_equal(logits, expected)


def test_an_update_copies_its_arguments_and_the_loss(student, copies):
    arguments = example(0)
    student.update(*arguments)
    assert copies == ([(*SIZE, 3), SIZE, SIZE], [()])


def test_an_attempt_copies_its_arguments_and_its_trial(student, copies):
    """Class ids come back without a copy on a CPU; the confusion is small."""
    student.attempt(*example(0), 2.0)
    assert copies == ([(*SIZE, 3), SIZE, SIZE], [(), (), SIZE, (NUM_CLASSES, NUM_CLASSES)])


# Allocations that Python and numpy make; large ones are fresh pages, cleared by the system


def distiller(student, max_stride=1 << 20):
    """A distiller that asks its teacher, which detects nothing, at the first frame only."""
    schedule = Schedule(
        max_updates=0, min_stride=max_stride, max_stride=max_stride, accuracy_threshold=0.5
    )
    return Distiller(student, lambda frame, index: NOTHING, MAKER, schedule)


def allocated(step):
    """The peak of bytes that a step allocates."""
    step()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        step()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def growth(step, count=200):
    """The bytes that remain allocated after some steps."""
    tracemalloc.start()
    try:
        step()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(count):
            step()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


SMALL = 16_000  # bytes: all but maps
assert SMALL < CLASS_MAP  # another map would not go unnoticed
# TensorFlow's own tensors keep up to 130 bytes a step; kept frames would be 18 MB.
LITTLE_MORE = 50_000


def test_memory_of_a_frame_is_its_class_map(student):
    """TensorFlow also copies the frame, as every array that it receives."""
    pictures = itertools.cycle([frame(i) for i in range(3)])
    segmenter = distiller(student)
    segmenter.step(next(pictures))
    most = allocated(lambda: segmenter.step(next(pictures)))
    assert CLASS_MAP < most <= FRAME + CLASS_MAP + SMALL
    assert growth(lambda: segmenter.step(next(pictures))) < LITTLE_MORE


HALF_LOGITS = PIXELS // 4 * NUM_CLASSES * 4  # bytes
FLOW = 2 * 4 * PIXELS


@pytest.mark.parametrize(
    ("infer_every", "least", "most"),
    [
        # The flow, what it points to, and its start; then logits and the maps to decide between.
        (1, FLOW + HALF_LOGITS, 6 * FLOW + HALF_LOGITS + 8 * CLASS_MAP),
        # Frames that the student does not see: flow alone.
        (1 << 20, FLOW, 4 * FLOW + 4 * CLASS_MAP),
    ],
)
def test_memory_of_a_fused_frame_is_its_flow_and_logits(student, infer_every, least, most):
    pictures = [frame(0), np.roll(frame(0), 1, axis=1)]
    fused = FusedOutput(student, SIZE, NUM_CLASSES, infer_every)
    schedule = Schedule(max_updates=0, min_stride=1 << 20, max_stride=1 << 20)
    teacher = lambda frame, index: NOTHING  # noqa: E731
    segmenter = Distiller(student, teacher, MAKER, schedule, output=fused)
    following = itertools.cycle(pictures)
    for _ in range(3):
        segmenter.step(next(following))
    assert least < allocated(lambda: segmenter.step(next(following))) <= most
    assert growth(lambda: segmenter.step(next(following)), 50) < LITTLE_MORE


def test_replay_traces_its_update_before_the_stream():
    student = new_student()
    policy = ReplayPolicy(SIZE, NUM_CLASSES)
    segmenter = Distiller(student, lambda frame, index: NOTHING, MAKER, Schedule(), policy)
    before = student.get_state()
    segmenter.warm_up(frame(0))
    assert student._update.experimental_get_tracing_count() == 1
    for name, array in student.get_state().items():
        np.testing.assert_array_equal(array, before[name])


def test_memory_of_a_scored_frame_is_two_maps_and_a_score(student):
    class Blind(Teacher):
        def __call__(self, frame, index):
            return NOTHING

    pictures = itertools.cycle([frame(i) for i in range(3)])
    segmenter = distiller(student)
    segmenter.step(next(pictures))
    scored = ScoredStream(map(Frame, pictures), segmenter, MAKER, Blind())
    results = iter(scored)
    most = allocated(lambda: next(results))
    # Counting takes an integer of eight bytes a pixel, twice where numpy does not reuse the
    # first, and the buffer through which numpy converts.
    assert 2 * CLASS_MAP < most <= 2 * CLASS_MAP + 16 * PIXELS + 65_536 + SMALL
    assert growth(lambda: next(results)) < LITTLE_MORE
