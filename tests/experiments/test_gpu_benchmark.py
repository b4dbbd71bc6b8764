"""The gpu_benchmark command: export, runtimes, checks before timing."""

import functools
import json
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest

from experiments import gpu_benchmark
from experiments.speed import turns
from experiments.speed.gpu import hlo, runtimes
from jitnet_tf.base.errors import UserError
from jitnet_tf.student.jitnet import build_jitnet
from tests.builders import markdown_table
from tests.commands import refusal, run_command
from tests.materials import write_teacher

SIZE = (64, 80)
PRECISION = "float32"


@pytest.fixture(autouse=True, scope="module")
def one_precision():
    """Uses one precision: tracing and compiling each takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hlo, "PRECISIONS", (PRECISION,))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder written by --export."""
    path = tmp_path_factory.mktemp("export") / "modules"
    size = "x".join(map(str, SIZE))
    arguments = (f"--export={path}", f"--frame_size={size}", "--seed=3")
    assert run_command(gpu_benchmark, *arguments) == 0
    return path


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of it to damage."""
    return shutil.copytree(folder, tmp_path / "copied")


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder; returns its message."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(refusal, gpu_benchmark, tmp_path, capsys)


# Exported files


@pytest.mark.slow
def test_exported_files(folder):
    names = {"benchmark.json", "inputs.npz", "expected.npz"}
    assert {path.name for path in folder.iterdir()} == names | {
        "infer_float32.hlo",
        "update_float32.hlo",
    }
    held = json.loads((folder / "benchmark.json").read_text())
    assert held["frame_size"] == list(SIZE)
    assert (held["num_classes"], held["seed"]) == (9, 3)
    assert "tensorflow" in held["versions"]


@pytest.mark.slow
def test_exported_modules_list_their_inputs_and_state(folder):
    exported = hlo.read(folder)
    infer, update = exported.modules
    model = build_jitnet(hlo.NUM_CLASSES, frame_size=SIZE)
    weights, trainable = len(model.weights), len(model.trainable_variables)
    assert infer.arguments[0] == "frame"
    assert len(infer.arguments) == 1 + weights
    assert infer.updated == {}
    assert update.arguments[:3] == ["frame", "labels", "weights"]
    # Weights and their momentum, the learning rate and the count of steps.
    assert len(update.arguments) == 3 + 2 * trainable + 2
    assert set(infer.arguments[1:]) < set(update.arguments)
    # All but the learning rate, the outputs after the loss.
    assert sorted(update.updated) == list(range(1, 2 * trainable + 2))
    [constant] = set(update.arguments[3:]) - set(update.updated.values())
    assert exported.inputs[constant] == np.float32(hlo.LEARNING_RATE)
    assert set(exported.inputs) == {*infer.arguments, *update.arguments}


@pytest.mark.slow
def test_exported_inputs_are_the_seeds(folder):
    exported = hlo.read(folder)
    given = hlo.inputs(SIZE, 3)
    for name, array in given.items():
        np.testing.assert_array_equal(exported.inputs[name], array)
    assert given["frame"].shape == (*SIZE, 3)
    assert [given[name].dtype for name in given] == [np.uint8, np.uint8, np.float32]
    assert set(np.unique(given["weights"])) == {1, 5}
    assert (hlo.inputs(SIZE, 4)["frame"] != given["frame"]).any()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_exported_weights_are_the_seeds_in_any_precision(folder, precision):
    exported = hlo.read(folder)
    made = hlo.make_student(SIZE, precision, seed=3, xla=False)
    held = sorted(array.tobytes() for array in exported.inputs.values() if array.ndim == 4)
    kernels = [v.numpy() for v in made.model.trainable_variables if v.shape.rank == 4]
    assert all(kernel.tobytes() in held for kernel in kernels)


@pytest.mark.slow
def test_expected_results_are_a_students(folder):
    expected = hlo.read(folder).expected
    made = hlo.make_student(SIZE, PRECISION, seed=3, xla=False)
    given = hlo.inputs(SIZE, 3)
    class_ids, losses = expected["infer_float32"], expected["update_float32"]
    np.testing.assert_array_equal(class_ids, made.infer(given["frame"]))
    assert len(np.unique(class_ids)) > 1
    again = [made.update(*given.values()) for _ in range(hlo.UPDATES)]
    np.testing.assert_allclose(losses, again, rtol=1e-4)
    assert len(set(losses)) == hlo.UPDATES


def test_aliases():
    head = "HloModule x, input_output_alias={ {1}: (3, {}, may-alias), {12}: (40, {}, must-alias) }"
    text = f"{head}, entry_computation_layout={{(f32[2]{{0}})->f32[]}}\n\n{{2}}: (5, {{}}"
    assert hlo.aliases(text) == {1: 3, 12: 40}
    assert hlo.aliases("HloModule x, entry_computation_layout={(u8[4]{0})->(f32[])}\n") == {}


# The runtimes


def run(folder, tmp_path, *arguments):
    file = tmp_path / "figures.json"
    flags = (f"--run={folder}", f"--json={file}", "--rounds=1", *arguments)
    assert run_command(gpu_benchmark, *flags) == 0
    return json.loads(file.read_text())


def assert_measured(values):
    infer, update = values["rows"][:2]
    assert (infer["what"], update["what"]) == ("infer", "update")
    assert infer["precision"] == update["precision"] == PRECISION
    for row in (infer, update):
        assert row["median_ms"] > 0
        assert row["median_ms_with_copies"] > 0
    assert infer["agreement"] > 0.999
    assert update["loss_difference"] < 1e-4  # of the third update: variables are the right ones


@pytest.mark.slow
def test_tensorflow_runs_the_export(folder, tmp_path, capsys):
    teacher = write_teacher(tmp_path / "teacher")
    values = run(folder, tmp_path, "--runtime=tensorflow", f"--mask_rcnn={teacher}")
    assert_measured(values)
    assert (values["runtime"], values["frame_size"]) == ("TensorFlow", list(SIZE))
    assert values["rows"][2]["what"] == "Mask R-CNN"
    assert values["rows"][2]["median_ms_with_copies"] > 0
    text = capsys.readouterr().out
    cells = markdown_table(text).cells
    for what, paper in (("infer", "7"), ("update", "30"), ("Mask R-CNN", "300")):
        assert cells[f"{what}, float32"]["paper, V100: ms"] == paper
    assert run_command(gpu_benchmark, f"--print={tmp_path}/figures.json") == 0
    assert capsys.readouterr().out == text


@pytest.mark.slow
def test_jax_runs_the_export(folder, tmp_path, capsys):
    pytest.importorskip("jax", reason="JAX is not installed")
    values = run(folder, tmp_path, "--runtime=jax")
    assert_measured(values)
    assert values["runtime"] == "JAX"
    assert f"ms on {values['device']}" in capsys.readouterr().out


@pytest.mark.slow
def test_jax_needs_only_modules(copied, refused):
    pytest.importorskip("jax", reason="JAX is not installed")
    (copied / "infer_float32.hlo").write_bytes(b"none")
    assert "infer_float32.hlo" in refused(f"--run={copied}", "--runtime=jax")


@pytest.mark.slow
def test_missing_runtimes_are_refused(folder, refused, monkeypatch):
    monkeypatch.setattr(runtimes, "tensorflow_sees_gpu", lambda: False)
    monkeypatch.setitem(sys.modules, "jax", None)
    assert "no TensorFlow with a GPU and no JAX" in refused(f"--run={folder}")


def test_running_imports_no_tensorflow():
    script = (
        "import sys; from experiments import gpu_benchmark; "
        "sys.exit(any(name.split('.')[0] in ('tensorflow', 'jax') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# Checks and times, with a fake runtime


class Runtime:
    """A runtime that returns given class ids and losses; the clock shows its calls."""

    device = "a device"

    def __init__(self, class_ids, losses=()):
        self.class_ids, self.losses = class_ids, iter(losses)
        self.now = 0.0

    def place(self, array):
        self.now += 1
        return array

    def infer(self, frame):
        self.now += 10
        return self.class_ids

    def update(self, frame, labels, weights):
        self.now += 100
        return next(self.losses)

    def wait(self, result):
        self.now += 1000


def exported(class_ids, losses):
    return hlo.Exported(
        folder=None,
        frame_size=class_ids.shape,
        modules=[],
        inputs=hlo.inputs(class_ids.shape, 0),
        expected={"infer_float32": class_ids, "update_float32": np.float32(losses)},
        versions={},
    )


def test_agreement():
    class_ids = np.zeros((4, 5), np.uint8)
    other = class_ids.copy()
    other[0, 0] = 1
    found = gpu_benchmark.agreement(
        Runtime(other, [2.0, 0.99, 0.5]), exported(class_ids, [2.0, 1.0, 0.5]), PRECISION
    )
    assert found == (0.95, pytest.approx(0.01))


@pytest.mark.parametrize(
    ("wrong", "losses"), [(3, [2, 1, 0.5]), (0, [2, 1, 0.6]), (0, [2, float("nan"), 0.5])]
)
def test_wrong_results_are_not_timed(wrong, losses):
    class_ids = np.zeros((4, 5), np.uint8)
    other = class_ids.copy()
    other[0, :wrong] = 1
    runtime = Runtime(other, losses)
    with pytest.raises(UserError, match=r"float32 on a device.*\[2.0, 1.0"):
        gpu_benchmark.measure(runtime, exported(class_ids, [2, 1, 0.5]), PRECISION, 1)


def test_timed_calls(monkeypatch):
    class_ids = np.zeros((4, 5), np.uint8)
    runtime = Runtime(class_ids, [1.0] * 99)
    clock = types.SimpleNamespace(perf_counter=lambda: runtime.now)
    monkeypatch.setattr(turns, "time", clock)
    infer, update = gpu_benchmark.measure(runtime, exported(class_ids, [1, 1, 1]), PRECISION, 3)
    assert infer["median_ms"] == 1000 * (10 + 1000)  # and no copy
    assert infer["median_ms_with_copies"] == 1000 * (1 + 10)
    assert update["median_ms"] == 1000 * (100 + 1000)
    assert update["median_ms_with_copies"] == 1000 * (3 + 100)


def test_warm_up_runs_are_not_timed(monkeypatch):
    lasting = iter([9.0] * gpu_benchmark.UNTIMED + [1.0, 2.0, 6.0])
    now = 0.0

    def step():
        nonlocal now
        now += next(lasting)

    clock = types.SimpleNamespace(perf_counter=lambda: now)
    monkeypatch.setattr(turns, "time", clock)
    assert gpu_benchmark.timed(step, 3) == 2000


# Refusals


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--export=FOLDER"),
        (["--export=new", "--run={folder}"], "--export=FOLDER"),
        (["--run={folder}", "--print=there"], "--export=FOLDER"),
        (["--export=there"], "--export=there exists"),
        (["--export=new", "--frame_size=big"], "'big'"),
        (["--export=new", "--json=x.json"], "--json"),
        (["--export=new", "--mask_rcnn=x"], "--mask_rcnn"),
        (["--export={folder}/inputs.npz/new"], "inputs.npz/new"),
        (["--run=new"], "--run=new"),
        (["--run={folder}", "--json=there"], "--json=there exists"),
        (["--run={folder}", "--runtime=jax", "--mask_rcnn=x"], "--mask_rcnn"),
        (["--run={folder}", "--runtime=tensorflow", "--mask_rcnn=x"], "'x'"),
        (["--run={folder}", "--runtime=torch"], "--runtime"),
        (["--run={folder}", "--rounds=0"], "--rounds"),
        (["--print=new"], "--print=new cannot be read"),
        (["--print={folder}/benchmark.json"], "experiments.gpu_benchmark --json"),
        (["--print=new", "--json=x.json"], "--json is for --run"),
        (["--print=new", "--mask_rcnn=x"], "--mask_rcnn is for --run"),
    ],
)
def test_invalid_flags_are_refused(folder, tmp_path, refused, arguments, named):
    (tmp_path / "there").mkdir()
    assert named in refused(*(argument.format(folder=folder) for argument in arguments))


def damage_json(folder, change):
    file = folder / "benchmark.json"
    held = json.loads(file.read_text())
    change(held)
    file.write_text(json.dumps(held))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda f: (f / "benchmark.json").write_text("{"), "JSONDecodeError"),
        (lambda f: (f / "benchmark.json").write_text("[]"), "TypeError"),
        (lambda f: damage_json(f, lambda held: held.update(format="other")), "'other'"),
        (lambda f: damage_json(f, lambda held: held.pop("modules")), "modules"),
        (
            lambda f: damage_json(f, lambda held: held["modules"][0].update(file="../x")),
            "'../x'",
        ),
        (lambda f: (f / "update_float32.hlo").unlink(), "update_float32.hlo"),
        (lambda f: (f / "inputs.npz").write_bytes(b"PK\3\4 and no more"), "inputs.npz"),
        (lambda f: (f / "inputs.npz").unlink(), "inputs.npz"),
        (lambda f: np.savez(f / "inputs.npz", frame=np.zeros(3)), "missing in inputs.npz"),
        (lambda f: np.savez(f / "expected.npz", frame=np.zeros(3)), "infer_float32"),
        (
            lambda f: np.savez(f / "inputs.npz", frame=np.array([{}], object)),
            "allow_pickle=False",
        ),
    ],
)
def test_damaged_folders_are_refused(copied, refused, damage, named):
    damage(copied)
    line = refused(f"--run={copied}", "--runtime=tensorflow")
    assert f"--run={copied}" in line
    assert named in line


def test_an_interrupted_export_leaves_no_folder(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(hlo, "make_student", fails)
    flags = (f"--export={tmp_path / 'modules'}", "--frame_size=64x80")
    assert run_command(gpu_benchmark, *flags) == 130
    assert list(tmp_path.iterdir()) == []
