"""A folder with a student's steps as XLA modules, and their inputs and expected results.

    benchmark.json            the modules of each step and precision, and their arguments
    infer_float32.hlo, …      HloModuleProto as TensorFlow hands it to XLA: not optimized, for any
                              device
    inputs.npz                all arguments by name: frame, labels, weights, variables
    expected.npz              the results of a CPU without XLA

A module's arguments are those of the step, then the variables that it reads; it returns the step's
result, then the variables that it changes, each in the place of an argument.
"""

import dataclasses
import json
import pathlib
import re
import zipfile

import numpy as np

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import LVS

NAME = "benchmark.json"
FORMAT = "experiments.hlo, 1"
STEPS = {"infer": ("frame",), "update": ("frame", "labels", "weights")}
PRECISIONS = ("float32", "bfloat16")
NUM_CLASSES = len(LVS) + 1
UPDATES = 3  # losses to compare; from the second on they show that variables were updated
# Lower than the default, with which rounding would grow from update to update. Costs are the same.
LEARNING_RATE = 0.001
BLOCK = 16  # pixels; noise alone would look uniform after resizing


@dataclasses.dataclass(frozen=True)
class Module:
    """The module of one step in one precision.

    Attributes:
      step, precision: of STEPS and PRECISIONS.
      file: the module's name in the folder.
      arguments: their names in inputs.npz, in the module's order.
      updated: index of an output → argument that gets its value before the next run.
    """

    step: str
    precision: str
    file: str
    arguments: list
    updated: dict

    @property
    def key(self):
        """The name of its results in expected.npz."""
        return f"{self.step}_{self.precision}"


@dataclasses.dataclass(frozen=True)
class Exported:
    """The content of a folder.

    Attributes:
      folder: of the modules.
      frame_size: (H, W).
      modules: Modules.
      inputs: name → array.
      expected: Module.key → class ids uint8 [H, W], or losses float32 [UPDATES].
      versions: package → version of the exporting machine.
    """

    folder: pathlib.Path
    frame_size: tuple
    modules: list
    inputs: dict
    expected: dict
    versions: dict


def inputs(frame_size, seed):
    """Returns random inputs: frame uint8 [H, W, 3], labels uint8 [H, W], weights float32 [H, W]."""
    random = np.random.default_rng(seed)
    H, W = frame_size
    blocks = (-(-H // BLOCK), -(-W // BLOCK))

    def enlarged(values):
        return values.repeat(BLOCK, 0).repeat(BLOCK, 1)[:H, :W]

    frame = enlarged(random.integers(20, 236, (*blocks, 3)))
    labels = enlarged(random.integers(0, NUM_CLASSES, blocks)).astype(np.uint8)
    return {
        "frame": (frame + random.integers(-20, 20, (H, W, 3))).astype(np.uint8),
        "labels": labels,
        "weights": np.where(labels > 0, np.float32(5), np.float32(1)),
    }


def make_student(frame_size, precision, seed, xla):
    """Returns the default student with a seed's random weights, the same in any precision."""
    from tensorflow import keras

    from jitnet_tf.student.devices import dtype_policy
    from jitnet_tf.student.jitnet import build_jitnet
    from jitnet_tf.student.student import Student

    keras.utils.set_random_seed(seed)
    model = build_jitnet(NUM_CLASSES, dtype=dtype_policy(precision), frame_size=frame_size, xla=xla)
    return Student(model, frame_size, learning_rate=LEARNING_RATE, xla=xla)


def step_functions(student):
    """Returns a Student's tf.functions, {"infer": …, "update": …}."""
    return {"infer": student._infer, "update": student._update}


def variable_names(student):
    """Returns (name, variable) of all variables of the steps; equal students have equal names."""
    seen, named = set(), []
    for function in step_functions(student).values():
        for variable in _captured(function.get_concrete_function()):
            if id(variable) not in seen:
                seen.add(id(variable))
                named.append((f"variables/{len(named):03d}", variable))
    return named


def export(folder, frame_size, seed):
    """Writes all files but benchmark.json to an empty folder; returns the values for that file."""
    from jitnet_tf.runs.versions import versions

    arguments = inputs(frame_size, seed)
    modules, expected = [], {}
    for precision in PRECISIONS:
        student = make_student(frame_size, precision, seed, xla=True)
        named = variable_names(student)
        names = {id(variable): name for name, variable in named}
        values = {name: variable.numpy() for name, variable in named}
        for step, function in step_functions(student).items():
            variables = _captured(function.get_concrete_function())
            file = f"{step}_{precision}.hlo"
            compiler_ir = function.experimental_get_compiler_ir(
                *(arguments[name] for name in STEPS[step])
            )
            pathlib.Path(folder, file).write_bytes(compiler_ir(stage="hlo_serialized"))
            order = [*STEPS[step], *(names[id(variable)] for variable in variables)]
            updated = {
                output: order[argument]
                for output, argument in aliases(compiler_ir(stage="hlo")).items()
            }
            modules.append(Module(step, precision, file, order, updated))
        reference = make_student(frame_size, precision, seed, xla=False)
        expected[f"infer_{precision}"] = reference.infer(arguments["frame"])
        expected[f"update_{precision}"] = np.float32(
            [reference.update(*(arguments[n] for n in STEPS["update"])) for _ in range(UPDATES)]
        )
    np.savez(pathlib.Path(folder, "inputs.npz"), **arguments, **values)
    np.savez(pathlib.Path(folder, "expected.npz"), **expected)
    return {
        "format": FORMAT,
        "frame_size": list(frame_size),
        "num_classes": NUM_CLASSES,
        "seed": seed,
        "versions": versions(),
        "modules": [dataclasses.asdict(module) for module in modules],
    }


def aliases(text):
    """Returns which outputs replace which arguments, {output: argument}, of a module as text."""
    head = text.split("\n", 1)[0]
    pairs = re.findall(r"\{(\d+)\}: \((\d+), \{\}", head)
    return {int(output): int(argument) for output, argument in pairs}


def read(folder):
    """Returns the Exported of a folder. Raises UserError if it is damaged or no such folder."""
    folder = pathlib.Path(folder)
    if not (folder / NAME).is_file():
        raise UserError(f"--run={folder} holds no {NAME}: give a folder that --export wrote")
    try:
        held = json.loads((folder / NAME).read_text("utf-8"))
        if held["format"] != FORMAT:
            raise ValueError(f"its format is {held['format']!r}")
        modules = [
            Module(**{**module, "updated": {int(k): v for k, v in module["updated"].items()}})
            for module in held["modules"]
        ]
        arrays, expected = (_read_arrays(folder / f"{n}.npz") for n in ("inputs", "expected"))
        for module in modules:
            if missing := [name for name in module.arguments if name not in arrays]:
                raise ValueError(f"{missing[0]} of {module.file} is missing in inputs.npz")
            if pathlib.Path(module.file).name != module.file:
                raise ValueError(f"{module.file!r} is outside of the folder")
            with open(folder / module.file, "rb"):
                pass
            expected[module.key]
        versions = dict(held["versions"])
        return Exported(folder, tuple(held["frame_size"]), modules, arrays, expected, versions)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(f"--run={folder} is not what --export writes ({what})") from None


def _read_arrays(path):
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path.name}: {error}") from None


def _captured(concrete):
    """Returns the variables that a concrete function captures, in the order of XLA's arguments."""
    by_handle = {id(variable.handle): variable for variable in concrete.variables}
    return [by_handle[id(tensor)] for tensor in concrete.captured_inputs]
