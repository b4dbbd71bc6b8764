"""Initial weights of the same network, of other classes, of other options."""

import hashlib

import numpy as np
import pytest

from jitnet_tf.base import checkpoint
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import StudentConfig
from jitnet_tf.labels import ClassGroups
from jitnet_tf.student import initial_weights, weights
from jitnet_tf.student.jitnet import build_jitnet

SMALL = StudentConfig(width=0.25)
PETS = ClassGroups({"dog": ("dog",), "auto": ("car", "bus"), "cat": ("cat",)})
LOGITS = "weights/logits"


def network(groups, student=SMALL):
    options = {"width": student.width, "skip": student.skip}
    return weights.named(build_jitnet(len(groups.names), **options))


def save(path, groups=PETS, student=SMALL, seed=0, **changes):
    """A checkpoint of random weights; returns its arrays."""
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.normal(size=variable.shape).astype(np.float32)
        for name, variable in network(groups, student).items()
    }
    described = {**initial_weights.describe(groups, student), **changes}
    checkpoint.save(path, {**arrays, "momentum/000": np.zeros(3)}, described)
    return arrays


def test_the_same_network(tmp_path):
    arrays, variables = save(tmp_path), network(PETS)
    initial_weights.start(variables, str(tmp_path), PETS, SMALL)
    for name, variable in variables.items():
        np.testing.assert_array_equal(variable.numpy(), arrays[name])


def test_random_leaves_the_weights():
    variables = network(PETS)
    before = weights.arrays(variables)
    initial_weights.start(variables, "random", PETS, SMALL)
    for name, variable in variables.items():
        np.testing.assert_array_equal(variable.numpy(), before[name])


def test_classes_in_common_keep_their_weights(tmp_path):
    """Background and classes of the same name and members keep their part of the last layer."""
    arrays = save(tmp_path)
    others = ClassGroups({"auto": ("car",), "cat": ("cat",), "dog": ("dog",), "cow": ("cow",)})
    variables = network(others)
    before = weights.arrays(variables)
    initial_weights.start(variables, str(tmp_path), others, SMALL)
    for name, variable in variables.items():
        value = variable.numpy()
        if not name.startswith(LOGITS):
            np.testing.assert_array_equal(value, arrays[name])
            continue
        for new, old in ((0, 0), (2, 3), (3, 1)):  # background, cat, dog
            np.testing.assert_array_equal(value[..., new], arrays[name][..., old])
        for new in (1, 4):  # auto has other members; cow is new
            np.testing.assert_array_equal(value[..., new], before[name][..., new])


@pytest.mark.parametrize("count", [7, 8, 16, 40])
def test_another_number_of_classes_has_other_widths(tmp_path, count):
    """From 9 and from 17 classes on, the last layers are wider: what both have is kept."""
    arrays = save(tmp_path)
    many = ClassGroups({f"class {i}": ("cow",) for i in range(count)} | {"dog": ("dog",)})
    variables = network(many)
    shapes = {name: variable.shape for name, variable in variables.items()}
    initial_weights.start(variables, str(tmp_path), many, SMALL)
    wider = [name for name, array in arrays.items() if array.shape != tuple(shapes[name])]
    assert all("head" in name or "decoder" in name or "logits" in name for name in wider)
    assert len(wider) > 2 or count < 8
    for name, variable in variables.items():
        value = variable.numpy()
        assert value.shape == tuple(shapes[name])
        part = tuple(map(slice, np.minimum(value.shape, arrays[name].shape)))
        if name.startswith(LOGITS):
            inputs = part[:-1]
            np.testing.assert_array_equal(value[(*inputs, 0)], arrays[name][(*inputs, 0)])
            np.testing.assert_array_equal(value[(*inputs, count + 1)], arrays[name][(*inputs, 1)])
        else:
            np.testing.assert_array_equal(value[part], arrays[name][part])


@pytest.mark.parametrize(
    ("option", "text"),
    [({"width": 0.5}, "--width=0.25, not 0.5"), ({"skip": False}, "--skip, not False")],
)
def test_other_options_are_refused(tmp_path, option, text):
    save(tmp_path)
    student = StudentConfig(**{"width": 0.25, **option})
    with pytest.raises(UserError, match=f"{text}: give") as error:
        initial_weights.start(network(PETS, student), str(tmp_path), PETS, student)
    assert "\n" not in str(error.value)


def test_precision_may_differ(tmp_path):
    arrays = save(tmp_path)
    student = StudentConfig(width=0.25, precision="bfloat16")
    variables = network(PETS, student)
    initial_weights.start(variables, str(tmp_path), PETS, student)
    for name, variable in variables.items():
        np.testing.assert_array_equal(variable.numpy(), arrays[name])


@pytest.mark.parametrize("damaged", [np.zeros((3, 3, 3, 8), "U3"), np.zeros(1, "f4,i2")])
def test_arrays_of_something_else_are_refused(tmp_path, damaged):
    arrays = save(tmp_path)
    _, progress = checkpoint.load(tmp_path)
    name = next(iter(arrays))
    checkpoint.save(tmp_path, {**arrays, name: np.resize(damaged, arrays[name].shape)}, progress)
    with pytest.raises(UserError, match=f"does not fit.*{name} holds no numbers"):
        initial_weights.start(network(PETS), str(tmp_path), PETS, SMALL)


@pytest.mark.parametrize("groups", [5, ["cat"], {"cat": 3}, None])
def test_damaged_classes_are_refused(tmp_path, groups):
    arrays = save(tmp_path)
    _, progress = checkpoint.load(tmp_path)
    checkpoint.save(tmp_path, arrays, {**progress, "groups": groups})
    with pytest.raises(UserError, match="does not fit"):
        initial_weights.start(network(PETS), str(tmp_path), PETS, SMALL)


def test_options_that_this_version_does_not_know(tmp_path):
    checkpoint.save(tmp_path, {"a": np.zeros(3)}, {"student": {"attention": True}})
    with pytest.raises(UserError, match=r"--init=.*attention"):
        initial_weights.start(network(PETS), str(tmp_path), PETS, SMALL)


def test_options_missing_from_older_checkpoints_have_defaults(tmp_path):
    """Checkpoints of versions before 0.2 have no options."""
    wide = StudentConfig(width=0.5)
    save(tmp_path, student=wide)
    arrays, progress = checkpoint.load(tmp_path)
    del progress["student"]
    checkpoint.save(tmp_path, arrays, progress)
    initial_weights.start(network(PETS, wide), str(tmp_path), PETS, wide)
    with pytest.raises(UserError, match=r"does not fit this network .*has shape"):
        initial_weights.start(network(PETS), str(tmp_path), PETS, SMALL)


@pytest.mark.parametrize("progress", [{}, {"classes": ["background", "dog"]}, {"groups": 3}])
def test_other_checkpoints_are_refused(tmp_path, progress):
    checkpoint.save(tmp_path, {"a": np.zeros(3)}, progress)
    with pytest.raises(UserError, match="does not fit this network"):
        initial_weights.start(network(PETS), str(tmp_path), PETS, SMALL)


# The weights that ship


def test_pretrained_weights_fit_and_have_their_digest():
    content = initial_weights.PRETRAINED_FILE.read_bytes()
    assert hashlib.sha256(content).hexdigest() == initial_weights.PRETRAINED_SHA256
    assert len(content) < 4e6
    card = initial_weights.PRETRAINED_FILE.with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    assert initial_weights.PRETRAINED_SHA256 in card
    arrays, progress = initial_weights.load("pretrained")
    assert all(name.startswith(weights.PREFIX) for name in arrays)
    assert StudentConfig(**progress["student"]) == StudentConfig()


def test_damaged_pretrained_weights_are_refused(tmp_path, monkeypatch):
    damaged = tmp_path / "pretrained.npz"
    monkeypatch.setattr(initial_weights, "PRETRAINED_FILE", damaged)
    for content in (None, b"x"):
        if content:
            damaged.write_bytes(content)
        with pytest.raises(UserError, match=r"are damaged .*: install it again"):
            initial_weights.load("pretrained")
