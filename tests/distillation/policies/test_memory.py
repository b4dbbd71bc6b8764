"""The bounded memory of compressed examples."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf.distillation.policies.base import Example
from jitnet_tf.distillation.policies.memory import ExampleMemory
from tests.distillation.scripted import assert_same_state
from tests.materials import texture

SIZE, CLASSES = (24, 33), 9


def example(index, size=SIZE):
    generator = np.random.default_rng(index)
    labels = generator.integers(0, CLASSES, size).astype(np.uint8)
    weights = generator.choice(np.float32([0, 0.1, 1, 5, 1e-30, 3e38]), size)
    return Example(index, texture(size, index), labels, weights)


def memory_of(*indices, capacity=3, size=SIZE):
    memory = ExampleMemory(capacity, size, CLASSES)
    for index in indices:
        memory.add(example(index, size))
    return memory


@given(st.integers(1, 40), st.integers(1, 40))
def test_labels_and_weights_come_back_exactly_and_frames_nearly(height, width):
    size = height, width
    [found] = [memory_of(7, size=size)[0]]
    expected = example(7, size)
    assert found.index == 7
    for part in ("labels", "weights"):
        back = getattr(found, part)
        assert back.dtype == getattr(expected, part).dtype
        np.testing.assert_array_equal(back, getattr(expected, part))
    assert (found.frame.dtype, found.frame.shape) == (np.uint8, (*size, 3))


def test_a_frame_is_nearly_the_same_in_its_colors():
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[..., 0] = 200  # red
    memory = ExampleMemory(1, SIZE, CLASSES)
    memory.add(Example(0, picture, np.zeros(SIZE, np.uint8), np.ones(SIZE, np.float32)))
    np.testing.assert_allclose(memory[0].frame.astype(int), picture, atol=3)


def test_the_oldest_goes():
    memory = memory_of(0, 8, 16, 24, 32)
    assert [memory[i].index for i in range(len(memory))] == [16, 24, 32]
    assert len({name.partition("/")[0] for name in memory.get_state()}) == 3


def test_state_round_trip():
    memory, again = memory_of(2, 10, 100), memory_of(5)
    again.set_state(memory.get_state())
    assert_same_state(again.get_state(), memory.get_state())
    assert [again[i].index for i in range(3)] == [2, 10, 100]  # by number, not by name
    np.testing.assert_array_equal(again[2].frame, memory[2].frame)


def encoded(name, array):
    return cv2.imencode(name, array)[1].ravel()


def claims_to_be_huge(state):
    """A JPEG whose header says 65000 × 65000."""
    data = state["2/frame"].copy()
    place = data.tobytes().index(b"\xff\xc0") + 5
    data[place : place + 4] = np.frombuffer(b"\xfd\xe8\xfd\xe8", np.uint8)
    state["2/frame"] = data


DAMAGE = {
    "part missing": lambda s: s.pop("2/labels"),
    "name": lambda s: s.update({"x/frame": s["2/frame"]}),
    "not compressed": lambda s: s.update({"2/frame": texture(SIZE, 1)}),
    "type": lambda s: s.update({"2/frame": s["2/frame"].astype(np.float64)}),
    "empty": lambda s: s.update({"2/frame": np.zeros(0, np.uint8)}),
    "empty labels": lambda s: s.update({"2/labels": np.zeros(0, np.uint8)}),
    "noise": lambda s: s.update({"2/frame": np.arange(200).astype(np.uint8)}),
    "cut": lambda s: s.update({"2/labels": s["2/labels"][:40]}),
    "frame of another size": lambda s: s.update({"2/frame": encoded(".jpg", texture((8, 8), 1))}),
    "frame as PNG": lambda s: s.update({"2/frame": encoded(".png", texture(SIZE, 1))}),
    "huge": claims_to_be_huge,
    "labels of another size": lambda s: s.update({"2/labels": s["2/weights"]}),
    "labels of 16 bits": lambda s: s.update(
        {"2/labels": encoded(".png", np.zeros(SIZE, np.uint16))}
    ),
    "other classes": lambda s: s.update(
        {"2/labels": encoded(".png", np.full(SIZE, CLASSES, np.uint8))}
    ),
    "weights not finite": lambda s: s.update(
        {"2/weights": encoded(".png", np.full(SIZE, np.nan, np.float32).view(np.uint8))}
    ),
    "negative weights": lambda s: s.update(
        {"2/weights": encoded(".png", np.full(SIZE, -1, np.float32).view(np.uint8))}
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_states_are_refused(damage):
    state = memory_of(2).get_state()
    damage(state)
    memory = memory_of(7)
    with pytest.raises((KeyError, ValueError)):
        memory.set_state(state)
    assert memory[0].index == 7


def test_an_empty_memory_has_no_state():
    memory = memory_of(1)
    memory.set_state({})
    assert len(memory) == 0
    assert memory.get_state() == {}
