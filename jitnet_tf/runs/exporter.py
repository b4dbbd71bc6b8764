"""Exports of a run's student while it goes on, in a process of their own."""

import dataclasses
import json
import os
import time
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from jitnet_tf.base import command_line, files
from jitnet_tf.base.background import BackgroundProcess
from jitnet_tf.base.errors import UserError, reason_of
from jitnet_tf.config.names import RANDOM
from jitnet_tf.runs import model_versions
from jitnet_tf.runs.model_versions import DESCRIPTION, EXTRA, TFLITE
from jitnet_tf.sinks.figures import run_name
from jitnet_tf.student import weights


@dataclasses.dataclass(frozen=True)
class Model:
    """Everything about a student that its exports share.

    Attributes:
      config: the RunConfig.
      groups: the ClassGroups.
      frame_size: (H, W) in pixels.
      ignored: the region to ignore, bool [H, W], which is background; None for none.
    """

    config: Any
    groups: Any
    frame_size: tuple[int, int]
    ignored: Any = None

    @property
    def description(self):
        """Facts that a client relies on, as JSON values."""
        return {"classes": list(self.groups.names), "frame_size": list(self.frame_size)}


def write_version(model, frame, arrays):
    """Writes the next version of a student; returns its number. Runs in a process of its own.

    Args:
      model: a Model.
      frame: index of the latest frame that it was shown.
      arrays: the network's weights by name.

    Raises:
      UserError: it cannot be written.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the memory of a GPU is the run's
    config, size = model.config, model.frame_size
    try:
        command_line.import_tensorflow()
        from jitnet_tf.runs import serving

        student = serving.build_exported(config, model.groups, size, RANDOM, model.ignored)
        weights.assign(weights.named(student.model), arrays)
        function = serving.serving_function(student, probabilities=True)
        path = model_versions.begin(config.export_dir)
        serving.write_saved_model(student, function, path)
        extra = path / EXTRA
        extra.mkdir()
        if config.export_tflite:
            serving.save_tflite(function, extra / TFLITE, "none", [])
        description = {"run": run_name(config.logdir), "frame": frame, **model.description}
        files.write_text(extra / DESCRIPTION, json.dumps(description, indent=2) + "\n")
        return model_versions.commit(config.export_dir, config.export_keep)
    except Exception as error:  # not all of them can be pickled
        model_versions.clean(config.export_dir)
        raise UserError(reason_of(error)) from None


def _check_own_folder(config):
    """Raises UserError if the folder of the exports also takes other outputs."""
    others = {"logdir": config.logdir, "masks": config.masks, "output": config.overlay_path}
    for name, other in others.items():
        if other and os.path.realpath(other) == os.path.realpath(config.export_dir):
            raise UserError(
                f"--export_dir={config.export_dir} is also --{name}={other}: give a folder of its "
                "own"
            )


class Exporter:
    """Exports a student every so often; one export at a time, and none if it was not asked for.

    Each has a process of its own, so that TensorFlow's memory is given back. A run does not wait
    for it but at its end, and goes on if it fails.

    Args:
      model: a Model.
      overwrite: go on in a folder with students of other classes or frame size.

    Raises:
      UserError: the folder cannot take its exports. Nothing is written by then.
    """

    def __init__(self, model, overwrite=False):
        config, self._model = model.config, model
        self._every = config.export_every
        if self._every:
            _check_own_folder(config)
            model_versions.check(config.export_dir, model.description, overwrite)
            # The process may begin in another working directory.
            config = dataclasses.replace(config, export_dir=os.path.abspath(config.export_dir))
            self._model = dataclasses.replace(model, config=config)
            self._due = time.monotonic() + self._every
        self._process = self._pending = None  # the export that is under way
        self._frame = self._exported = None  # the latest frame of that, and of the latest complete
        self._skipped = self._failed = 0
        self._reason = None

    @property
    def problems(self):
        """Exports that were skipped or failed, a sentence each."""
        found = []
        if self._skipped:
            found.append(
                f"exports left out because the one before was still being written: "
                f"{self._skipped}; give a longer --export_every"
            )
        if self._failed:
            found.append(
                f"exports to --export_dir={self._model.config.export_dir} that failed: "
                f"{self._failed}; the latest because of {self._reason}"
            )
        return found

    def offer(self, distiller):
        """Begins an export if it is time for one; called between frames."""
        if not self._every or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._every
        if self._pending and not self._pending.done():
            self._skipped += 1
            return
        self._take()
        self._begin(distiller)

    def lacks(self, distiller):
        """Returns whether the student as it is has not been exported, and is to be."""
        return bool(self._every and distiller.index and self._exported != distiller.index - 1)

    def finish(self, distiller):
        """Exports the student as it is at the run's end, unless the latest export is of it."""
        self._take()
        if self.lacks(distiller):
            self._begin(distiller)
            self._take()

    def close(self):
        """Ends an export that is under way; it leaves no version."""
        if self._process:
            self._process.close()
            self._process = None
            model_versions.clean(self._model.config.export_dir)

    def _begin(self, distiller):
        self._frame = distiller.index - 1
        arrays = weights.arrays(weights.named(distiller.student.model))
        try:
            self._process = process = BackgroundProcess()
            self._pending = process.submit(write_version, self._model, self._frame, arrays)
        except OSError as error:  # too many processes, or no memory for another
            self.close()
            self._fail(reason_of(error))
        else:
            self._pending.add_done_callback(lambda _: process.end())

    def _take(self):
        """Waits for the export that is under way, if any, and takes its outcome."""
        if not self._pending:
            return
        try:
            self._pending.result()
            self._exported = self._frame
        except BrokenProcessPool:
            model_versions.clean(self._model.config.export_dir)
            self._fail("the end of their process")
        except UserError as error:
            self._fail(str(error))
        self._process.close()
        self._process = self._pending = None

    def _fail(self, reason):
        self._failed += 1
        self._reason = reason
