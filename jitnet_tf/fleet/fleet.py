"""A fleet: streams that share a pool of teachers, from its start to its summary."""

import contextlib
import os
import pathlib
import time

from jitnet_tf.base import locks
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.interrupt import StopRequest
from jitnet_tf.base.progress import say
from jitnet_tf.base.web_server import WebServer
from jitnet_tf.fleet import cluster, directory, status, streams
from jitnet_tf.fleet.members import Members
from jitnet_tf.fleet.metrics import FleetMetrics
from jitnet_tf.runs.directory import CONFIG
from teacher import PRECOMPUTED, open_teacher, saved_model_folder
from teacher.base import Teacher

TICK = 0.5  # seconds between two looks at the streams


class Fleet:
    """A fleet, opened; use it as a context manager.

    Mistakes that concern it as a whole are raised by the constructor, and by `execute` if the
    teacher cannot be opened, before anything is written or replaced; mistakes of a stream's video
    only end that stream.

    Args:
      config: a FleetConfig.
      spec: the teacher, as for `open_teacher`; {name} in a recording's stands for the stream's.
      options: its TeacherOptions.
      logdir: the fleet's folder.
      resume: go on with the fleet that is there.
      overwrite: replace it.

    Attributes:
      remarks: lines for the user at the start.
    """

    def __init__(self, config, spec, options, logdir, *, resume=False, overwrite=False):
        self._config = config
        self._logdir = pathlib.Path(logdir).absolute()
        self._summary_path = self._logdir / status.SUMMARY
        self.remarks = []
        with contextlib.ExitStack() as stack:
            stack.enter_context(locks.Lock(self._logdir, "logdir", is_folder=True))
            watch = streams.Watch(config.streams, lambda s: streams.config_of(s, self._logdir))
            listed = watch.streams.values()
            self._spec = _checked(spec, options, listed)
            self._about = self._logdir, self._spec, options
            directory.check(*self._about, resume=resume, overwrite=overwrite)
            for stream in listed:
                streams.config_of(stream, self._logdir, anew=overwrite)
            cluster.connect(config.address)
            stack.callback(cluster.disconnect)
            if problem := cluster.check_resources(config):
                self.remarks.append(problem)
            self._is_marked = resume
            self._overwrites = directory.overwrites(self._logdir) if resume else overwrite
            self._pool = cluster.start_pool(config, self._spec, options)
            self._members = Members(watch, self._start)
            self._metrics = FleetMetrics()
            self._teachers = status.Teachers()
            self._stack = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def serve_metrics(self, port, bind):
        """Serves the figures of all streams to Prometheus; see `WebServer`."""
        server = WebServer("metrics_port", port, bind, {"/metrics": self._metrics.answer})
        self._stack.callback(server.close)
        self.remarks += [f"metrics for Prometheus at {server.url}metrics", *server.problems]

    def execute(self):
        """Runs until all streams are over, or Ctrl-C; shows how they stand; returns the summary."""
        due, stopped = 0.0, False
        with StopRequest() as stop:
            while not self._members.are_over:
                now = time.monotonic()
                if stop.made and not stopped:
                    stopped = True
                    say("stopping all streams after their current frames; Ctrl-C stops at once")
                    self._members.stop(now)
                pool = self._pool.figures()
                if (refusal := status.refusal(pool)) and not self._have_started():
                    raise UserError(refusal)
                if status.has_teacher(pool) and not (self._is_marked or stopped):
                    # Only now, for it deletes what the fleet replaces.
                    directory.start(*self._about, self._overwrites)
                    self._is_marked = True
                if self._is_marked:
                    self._members.step(now)
                for line in (*self._members.news(), *self._teachers.news(pool)):
                    say(line)
                self._metrics.show_fleet(self._members.by_name, pool)
                if now >= due:
                    due = now + self._config.status_every
                    self._tell(now)
                time.sleep(TICK)
            if not self._is_marked:
                raise KeyboardInterrupt  # nothing has begun that could go on
            self._tell(time.monotonic())
            return self._summarize()

    def _have_started(self):
        """Returns whether any stream has been opened."""
        return any(member.figures for member in self._members.by_name.values())

    def _start(self, stream):
        """Starts a Stream's process, from its checkpoint if it has one."""
        config = streams.config_of(stream, self._logdir)
        resume = os.path.isfile(os.path.join(config.logdir, CONFIG))
        marker = directory.marker_in(self._logdir)
        how = {"resume": resume, "overwrite": self._overwrites and not resume}
        return cluster.start_stream(
            self._config, stream, config, self._spec, self._pool, marker, how
        )

    def _tell(self, now):
        members, pool = self._members, self._pool.figures()
        say(f"{time.strftime('%H:%M:%S')}\n{status.table(members.by_name)}\n")
        for problem in (members.watch.problem, *self._teachers.problems(pool, now)):
            if problem:
                say(f"note: {problem}")
        if not self._is_marked or not (status.has_teacher(pool) or self._have_started()):
            return  # it may still be refused
        try:
            self._summarize()
        except OSError as error:  # such as a full disk: the streams go on
            say(f"note: {self._summary_path} cannot be written ({error.strerror})")

    def _summarize(self):
        found = status.summary(self._members.by_name, self._pool.figures())
        status.write(self._summary_path, found)
        return found


def _checked(spec, options, listed):
    """Returns the spec of the teacher, absolute; UserError if it is certain not to open."""
    if spec.startswith(PRECOMPUTED):
        kind, path = spec.split(":", 1)
        spec = f"{kind}:{os.path.abspath(path)}"
        for stream in listed:
            teacher: Teacher = open_teacher(streams.teacher_of(spec, stream.name), options)
            teacher.close()
        return spec
    return os.path.abspath(saved_model_folder(spec))
