"""The kinds of files that are damaged: what the program itself writes, and lists of streams."""

import functools
import io
import json
import os
import shutil
import unittest.mock
import zipfile

import numpy as np
from absl import flags

from experiments import methods
from experiments.protocol import jobs, streams
from experiments.reports import table2
from experiments.reports.results import Results
from experiments.robustness import damage
from experiments.robustness.kinds import BOMB, FRAMES, GROUPS, SIZE, Kind, distill, write_stream
from jitnet_tf import distill as distill_command
from jitnet_tf.base import checkpoint, command_line
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig, StudentConfig
from jitnet_tf.config.names import RANDOM
from jitnet_tf.runs import directory
from jitnet_tf.student import initial_weights, weights
from jitnet_tf.student.build import build_student
from teacher import annotate

STUDENT = StudentConfig(width=0.25)


def damaged_checkpoint(arrays, progress, random):
    """Returns a checkpoint of damaged arrays or progress, or a bomb."""
    arrays, how = dict(arrays), random.random()
    name = random.choice(list(arrays))
    packed = np.frombuffer(json.dumps(progress).encode(), np.uint8)
    if how < 0.5:
        packed = np.frombuffer(damage.damaged_json(progress, random), np.uint8)
    elif how < 0.9:
        array = arrays.pop(name)
        if random.random() < 0.8:
            if random.random() >= 0.9:  # a name in a ZIP file is valid UTF-8
                name = damage.extreme_text(random)[:1000].encode("utf-8", "replace").decode()
            arrays[name] = _damaged_array(array, random)
    else:
        return _bomb(arrays, packed, name, random)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{checkpoint.PROGRESS: packed})
    return buffer.getvalue()


def _damaged_array(array, random):
    changes = (
        lambda: np.full_like(array, random.choice((0, 1, 127))),
        lambda: np.full(array.shape, random.choice((np.nan, np.inf, -np.inf, 1e300))),
        lambda: array.reshape(-1),
        lambda: array[None],
        lambda: np.zeros(()),
        lambda: np.zeros((0, 3)),
        lambda: array.astype(np.complex64),
        lambda: array.astype("S3"),
        lambda: array.astype("U3"),
        lambda: np.zeros(array.shape, "f4,i2"),
        lambda: np.zeros(array.shape, "M8[s]"),
        lambda: np.zeros((1 << 22,), np.uint8),
        lambda: np.array(-(1 << 62)),
        lambda: np.array(1 << 62),
    )
    return random.choice(changes)()


def _bomb(arrays, packed, name, random):
    """A checkpoint with a member whose header claims, or whose compressed zeros are, gigabytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for each, array in {**arrays, checkpoint.PROGRESS: packed}.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array)
            content = content.getvalue()
            if each == name:
                shape = random.choice(
                    ("(1<<40,)", "(999999999999,)", "(-5,)", "((((1,", "(10**9,)")
                )
                content = content.replace(b"'shape': (", f"'shape': {shape}#".encode(), 1)
            file.writestr(f"{each}.npy", content)
    data = bytearray(buffer.getvalue())
    if random.random() < 0.5:
        return bytes(data)
    # The first member is replaced by one that is gigabytes of zeros.
    header = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (BOMB,)}
    np.lib.format.write_array_header_1_0(header, about)
    return zip_of_zeros(f"{name}.npy", header.getvalue(), BOMB)


def zip_of_zeros(name, beginning, size):
    """Returns a ZIP file with one compressed member: a beginning and `size` zero bytes."""
    import zlib

    compressor = zlib.compressobj(1, zlib.DEFLATED, -15)
    start = compressor.compress(beginning) + compressor.flush(zlib.Z_FULL_FLUSH)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        about = zipfile.ZipInfo(name)
        file.writestr(about, start + damage.zeros(size))
    data = bytearray(buffer.getvalue())
    length = (len(beginning) + size).to_bytes(8, "little")[:4]
    central = data.index(b"PK\1\2")
    for place in (0, central):  # the local header and the entry of the directory
        method, sizes = (8, 22) if place == 0 else (10, 24)
        data[place + method : place + method + 2] = b"\x08\0"
        data[place + sizes : place + sizes + 4] = length
    return bytes(data)


@functools.cache
def _student():
    config = RunConfig(logdir="x", init=RANDOM, student=STUDENT, seed=1)
    return build_student(config, GROUPS, SIZE)


class Runs(Kind):
    """Checkpoints in run directories, which a resumed run reads.

    Building and compiling a student takes seconds; all runs share one.
    """

    share = 8
    file = checkpoint.NAME

    def write(self):
        """Makes a run that was interrupted; returns the file that is damaged."""
        from jitnet_tf.distillation import build
        from jitnet_tf.runs import run

        self._run = run.Run
        self._patch = unittest.mock.patch.object(build, "build_student", return_value=_student())
        video, recording = write_stream(self.folder)
        self.config = RunConfig(
            video=str(video),
            teacher=f"recorded:{recording}",
            reference=str(recording),
            logdir=str(self.folder / "interrupted"),
            masks=str(self.folder / "interrupted" / "masks"),
            init=RANDOM,
            student=STUDENT,
        )
        with self._patch, run.Run(self.config) as opened:
            for _ in range(FRAMES // 2):
                opened.advance()
            opened.finish(complete=False)
        return {self.file: (self.folder / "interrupted" / self.file).read_bytes()}

    def damaged(self, random):
        """Returns a checkpoint of damaged bytes, arrays or progress."""
        if random.random() < 0.3:
            return super().damaged(random)
        found = checkpoint.load(self.folder / "interrupted")
        return self.file, damaged_checkpoint(*found, random)

    def complete(self, path):
        """Writes the other files of the run directory beside the damaged one."""
        interrupted = self.folder / "interrupted"
        shutil.copytree(
            interrupted,
            path.parent,
            dirs_exist_ok=True,
            ignore=lambda folder, names: [self.file, ".lock"] if folder == str(interrupted) else [],
        )

    def read(self, path):
        """Resumes the run, and lets it go on for a frame."""
        self.complete(path)
        content = path.read_bytes()
        config = directory.load_config(path.parent)
        moved = {"logdir": str(path.parent), "output": None, "masks": str(path.parent / "masks")}
        config = RunConfig(**{**vars(config), **moved})
        with self._patch, self._run(config, resume=True) as opened:
            opened.advance()
        path.write_bytes(content)  # which a resumed run writes anew, or removes

    def command(self, path):
        """The command that resumes it."""
        self.complete(path)
        return ["jitnet_tf.distill", "--resume", f"--logdir={path.parent}"]


class Configs(Runs):
    """config.json of a run."""

    share = 6
    file = directory.CONFIG

    def damaged(self, random):
        """Returns damaged JSON."""
        [(name, data)] = self.originals.items()
        return name, damage.damaged_json(json.loads(data), random)


class Summaries(Runs):
    """summary.json of a run."""

    share = 2
    file = directory.SUMMARY

    def damaged(self, random):
        """Returns damaged JSON."""
        [(name, data)] = self.originals.items()
        return name, damage.damaged_json(json.loads(data), random)


class Weights(Kind):
    """Checkpoints as initial weights."""

    share = 5

    def write(self):
        """Writes the stream for `command`; returns a checkpoint."""
        write_stream(self.folder)
        self._arrays = weights.arrays(weights.named(_student().model))
        self._progress = initial_weights.describe(GROUPS, STUDENT)
        checkpoint.save(self.folder, self._arrays, self._progress)
        return {"weights.npz": (self.folder / checkpoint.NAME).read_bytes()}

    def damaged(self, random):
        """Returns a checkpoint of damaged bytes, arrays or progress."""
        if random.random() < 0.3:
            return super().damaged(random)
        return "weights.npz", damaged_checkpoint(self._arrays, self._progress, random)

    def read(self, path):
        """Starts a student from it."""
        variables = weights.named(_student().model)
        initial_weights.start(variables, str(path), GROUPS, STUDENT)

    def command(self, path):
        """A run that starts from it."""
        return distill(path, init=path, width=STUDENT.width)


class Flags(Kind):
    """Flag files, such as a run's resolved.flags."""

    share = 5

    def write(self):
        """Writes the stream; returns a flag file."""
        video, recording = write_stream(self.folder)
        config = RunConfig(video=str(video), teacher=f"recorded:{recording}", logdir="run")
        return {"resolved.flags": config.to_flagfile().encode()}

    def damaged(self, random):
        """Returns a damaged text."""
        [(name, data)] = self.originals.items()
        return name, damage.damaged_text(data.decode(), random)

    def read(self, path):
        """Makes a configuration of the flags, as the command does."""
        before = set(flags.FLAGS)
        distill_command.define_flags()
        try:
            command_line.main(distill_command.new_config, ["distill", f"--flagfile={path}"])
        except SystemExit as stop:
            if stop.code == command_line.EXIT_USER_ERROR:
                raise UserError("refused by the command") from None
            if stop.code:
                raise RuntimeError(f"exit status {stop.code}") from None
        finally:
            flags.FLAGS.unparse_flags()
            flags.FLAGS.remove_flag_values(set(flags.FLAGS) - before)

    def command(self, path):
        """A run of these flags."""
        return ["jitnet_tf.distill", f"--flagfile={path}", "--max_frames=1", "--overwrite"]


class Lists(Kind):
    """Stream lists."""

    share = 4

    def write(self):
        """Writes a stream; returns a list of it."""
        video, recording = write_stream(self.folder)
        found = [
            streams.Stream(name, "made", ("person", "auto"), str(video), str(recording), limit)
            for name, limit in (("a", None), ("b", 5))
        ]
        text = streams.to_csv(found, self.folder / "input", self.folder / "input")
        return {"streams.csv": f"# streams\n{text}".encode()}

    def damaged(self, random):
        """Returns a damaged text."""
        [(name, data)] = self.originals.items()
        return name, damage.damaged_text(data.decode(), random)

    def read(self, path):
        """Reads the list, and checks its streams."""
        for each in streams.read_list(path):
            streams.check(each)

    def command(self, path):
        """A table of a method without training."""
        results = f"--results={self.folder / 'results'}"
        return ["experiments.table2", f"--streams={path}", results, "--only=never_adapted"]


class ResultFiles(Kind):
    """Results of experiments."""

    share = 4

    def write(self):
        """Returns a result of ten frames."""
        method = "jitnet_0.8"
        summary = {
            **{"frames": 10, "teacher_frames": 2, "teacher_fraction": 0.2, "updates": 3},
            **{"mean_iou": 0.5, "mean_iou_student_only": 0.4, "speedup": 2.5},
            **{"teacher_seconds_per_frame": 0.5, "teacher_time": "recorded"},
            **{"teacher_mode": "sync", "seconds": {"infer": 0.8, "trial": 0.2, "update": 0.6}},
        }
        self._values = {
            "stream": {"name": "a", "category": "-", "classes": ["person"], "max_frames": None},
            "method": method,
            "settings": methods.settings_of(method),
            "frames": 10,
            "recorded": {"recorded_teacher": "a teacher", "frame_size": list(SIZE)},
            "summary": summary,
            "flicker": {"prediction": 0.125, "teacher": 0.25},
            "machine": {"cpu": "a CPU", "cores": 2, "gpus": []},
            "versions": {"tensorflow": "2"},
            "jobs": 1,
        }
        return {jobs.RESULT: json.dumps(self._values).encode()}

    def damaged(self, random):
        """Returns damaged JSON."""
        return jobs.RESULT, damage.damaged_json(self._values, random)

    def _in_results(self, path):
        place = jobs.folder(path.parent / "results", "a", "jitnet_0.8")
        place.mkdir(parents=True)
        shutil.copyfile(path, place / jobs.RESULT)
        return path.parent / "results"

    def read(self, path):
        """Makes the tables of it."""
        table2.report(Results.load(self._in_results(path)))

    def command(self, path):
        """The command that prints the tables."""
        return ["experiments.table2", f"--print={self._in_results(path)}"]


class Partials(Kind):
    """Unfinished annotation files."""

    share = 2
    names = ("a.jpg", "b.jpg")

    def write(self):
        """Returns a file of one image."""
        self.info = {"teacher": "t", "images": len(self.names)}
        entry = {"file_name": "a.jpg", "height": 8, "width": 8, "annotations": []}
        lines = [json.dumps(self.info), json.dumps(entry)]
        return {"a.json.partial": "\n".join([*lines, ""]).encode()}

    def damaged(self, random):
        """Returns a file with a damaged line or damaged bytes."""
        if random.random() < 0.3:
            return super().damaged(random)
        [(name, data)] = self.originals.items()
        lines = data.splitlines()
        place = random.randrange(2)
        lines[place] = damage.damaged_json(json.loads(lines[place]), random)
        return name, b"\n".join([*lines, b""])

    def read(self, path):
        """Reads the entries as `teacher.annotate` does, which cuts the file to whole lines."""
        data = path.read_bytes()
        try:
            done = annotate._read_partial(path, self.info, list(self.names))
            json.dumps(annotate._dataset(done, self.info, {}))
        finally:
            path.write_bytes(data)
            os.utime(path)


KINDS = (Runs, Configs, Summaries, Weights, Flags, Lists, ResultFiles, Partials)
