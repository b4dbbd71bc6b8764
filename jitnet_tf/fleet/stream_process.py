"""A stream of a fleet: a Ray actor that advances the product's own Run."""

import math
import os
import pathlib
import socket
import sys
import threading
import traceback

from jitnet_tf import video
from jitnet_tf.base import command_line, credentials, locks
from jitnet_tf.base.errors import UserError, reason_of
from jitnet_tf.fleet.outcome import AWAY, CRASHED, ENDED, FAILED, IN_USE, STOPPED, Outcome
from jitnet_tf.fleet.pooled_teacher import PooledTeacher, StoppedError
from jitnet_tf.fleet.streams import budget_of
from jitnet_tf.runs import directory
from jitnet_tf.sinks.figures import Figures
from teacher.base import TeacherError


class StreamProcess:
    """Runs a stream.

    Args:
      name: of the stream.
      config: its RunConfig, without a teacher.
      spec: its teacher, as for `open_teacher`.
      dispatcher: handle of the Dispatcher.
      marker: a file of the fleet, which has to be there on this machine, too.
      threads: of TensorFlow.
      on_gpu: whether it may use the GPUs that Ray shows it.
    """

    def __init__(self, name, config, spec, dispatcher, marker, threads, on_gpu):
        set_up_tensorflow(on_gpu, threads)
        self._name = name
        self._config = config
        self._spec = spec
        self._dispatcher = dispatcher
        self._marker = marker
        self._stopping = threading.Event()
        self._figures = self._source = None

    def run(self, resume, overwrite):
        """Runs the stream to its end, or until `stop`; returns an Outcome.

        resume: from its checkpoint. overwrite: replaces outputs of an earlier run.
        """
        try:
            return self._run(resume, overwrite)
        except directory.CompleteError:
            return Outcome(ENDED, directory.read_summary(self._config.logdir))
        except locks.InUseError as error:
            return self._outcome(IN_USE, str(error))
        except video.UnavailableError as error:
            patience = self._config.reconnect_for
            return self._outcome(AWAY, str(error), math.inf if patience is None else patience)
        except UserError as error:
            if _is(error, StoppedError):
                return self._outcome(STOPPED, "")
            return self._outcome(CRASHED if _is(error, TeacherError) else FAILED, str(error))
        except Exception as error:  # not all of them can be sent
            print(self._hidden(traceback.format_exc()), file=sys.stderr)  # to Ray's log
            return self._outcome(CRASHED, reason_of(error))

    def _outcome(self, state, reason, patience=math.inf):
        summary = directory.read_summary(self._config.logdir)
        return Outcome(state, summary, self._hidden(reason), patience)

    def _hidden(self, text):
        return credentials.hidden(text, [self._config.video])

    def _run(self, resume, overwrite):
        if not pathlib.Path(self._marker).is_file():
            raise UserError(
                f"{os.path.dirname(self._marker)} is not the fleet's folder on "
                f"{socket.gethostname()}: give a --logdir that all machines of the cluster share"
            )
        command_line.import_tensorflow()
        from jitnet_tf.runs.run import Run

        budget = budget_of(self._config)
        teacher = PooledTeacher(self._name, self._spec, self._dispatcher, self._stopping, budget)
        try:
            how = {"resume": resume, "overwrite": overwrite}
            with Run(self._config, teacher=teacher, **how) as run:
                self._source = run.source
                self._figures = Figures(run.statistics)
                while not self._stopping.is_set() and (result := run.advance()) is not None:
                    self._figures.add(result)
                    if learned := result.teacher:
                        after = learned.accuracy_after
                        teacher.learned(learned.index, learned.accuracy_shown, after)
                stopped = self._stopping.is_set()
                summary = run.finish(complete=run.source.live or not stopped)
        finally:
            teacher.close()
        return Outcome(STOPPED if stopped else ENDED, summary)

    def figures(self):
        """Returns the figures of the run; see `Figures.now`. None until it is open."""
        return self._figures.now() if self._figures else None

    def stop(self):
        """Ends the run after its frame."""
        self._stopping.set()
        if self._source:
            self._source.interrupt()


def _is(error, kind):
    """Returns whether an error, or what it was raised from, is of a kind."""
    return isinstance(error, kind) or isinstance(error.__cause__, kind)


def set_up_tensorflow(on_gpu, threads=None):
    """Sets TensorFlow's environment, before it is imported. threads: None for its own number.

    Ray hides GPUs from an actor only if that has a part of one.
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if not on_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    for kind in ("INTRA", "INTER") if threads else ():
        os.environ[f"TF_NUM_{kind}OP_THREADS"] = str(threads)
