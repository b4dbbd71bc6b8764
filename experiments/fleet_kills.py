"""Kills in a fleet: of the process of a stream, of a teacher, and of the fleet itself.

    python -m experiments.fleet_kills --streams=clips/fleet.csv \\
        --teacher='recorded:RECORDINGS/{name}.recording' --options='--frame_size=360x640' \\
        --work=runs/fleet_kills --output=fleet_kills.json
    python -m experiments.fleet_kills --print=fleet_kills.json

The same fleet runs five times: twice undisturbed, then with the process of its first stream, that
of its teacher, or the fleet itself killed by SIGKILL, --kills times at even distances. A killed
fleet is started again with --resume. At the end every frame of every stream has to be there once,
and the figures of streams that were not killed have to be those of undisturbed fleets, but for the
noise of an asynchronous teacher. The list's streams need a `reference`, to be scored against.
"""

import json
import pathlib
import shutil
import time

from absl import flags

from experiments.protocol import fleet_process, provenance
from experiments.reports import markdown, measurement
from experiments.robustness import fleet_victims
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path
from jitnet_tf.base.progress import progress_bar
from jitnet_tf.fleet import status, streams

FLAGS = flags.FLAGS
FORMAT = "experiments.fleet_kills, 1"
SETTINGS = ("streams", "teacher", "options", "frames", "kills")
NEW = {"fleets": {}}
UNDISTURBED, AGAIN, STREAM, TEACHER, DRIVER = FLEETS = (
    *("undisturbed", "undisturbed, again"),
    *("first stream killed", "teacher killed", "fleet killed"),
)
POLL_SECONDS = 0.2
CHECKPOINTS = "--checkpoint_every=20"  # often, so that what is killed goes on from one
FIGURES = ("frames", "teacher_fraction", "updates", "mean_iou")


def define_flags():
    """Defines the flags of the kills."""
    measurement.define_flags()
    define_path("streams", None, "The fleet's list, see jitnet_tf.fleet, with references.")
    define_path("teacher", None, "The fleet's teacher.")
    flags.DEFINE_string("options", "", "Further options of the fleet, as for a shell.")
    flags.DEFINE_integer("frames", 300, "Frames of each stream.", lower_bound=1)
    flags.DEFINE_integer("kills", 10, "Number of kills in each disturbed fleet.", lower_bound=1)
    define_path("work", None, "Folder for the fleets.")


class Runner:
    """Runs the fleet.

    Args:
      listed: its Streams.
      counts: the frames of each, by name, as the undisturbed fleet had them.
    """

    def __init__(self, listed, counts):
        self._listed = listed
        self._counts = counts

    def run(self, victim, logdir):
        """Runs the fleet to its end, with kills of a victim; returns a trial as JSON values."""
        shutil.rmtree(logdir, ignore_errors=True)
        kills, resumes, start = 0, 0, time.perf_counter()
        process = fleet_process.start(logdir, CHECKPOINTS)
        try:
            while (code := process.poll()) is None:
                time.sleep(POLL_SECONDS)
                if victim in (UNDISTURBED, AGAIN) or kills == FLAGS.kills:
                    continue
                if self._share(victim, logdir) < (kills + 1) / (FLAGS.kills + 1):
                    continue
                if victim == DRIVER:
                    process.kill()
                    process.wait()
                    process = fleet_process.start(logdir, CHECKPOINTS, "--resume")
                    kills, resumes = kills + 1, resumes + 1
                else:
                    kills += self._kill(victim, process, logdir)
        finally:
            fleet_process.end(process)
        summary = _read(logdir / status.SUMMARY)
        return {
            "kills": kills,
            "resumes": resumes,
            "seconds": time.perf_counter() - start,
            "status": code,
            "said": "" if code == 0 else _last_line(logdir),
            "complete": bool(summary and summary["complete"]),
            "deaths": sum(t["deaths"] for t in summary["teachers"]) if summary else None,
            "streams": {s.name: self._of_stream(s, logdir, summary) for s in self._listed},
        }

    def _share(self, victim, logdir):
        """Returns the share of its frames, or those of all streams, that are put out, 0…1."""
        counted = self._listed[:1] if victim == STREAM else self._listed
        done = sum(len(_indices(streams.folder_of(s, logdir))) for s in counted)
        return done / sum(self._counts[stream.name] for stream in counted)

    def _kill(self, victim, process, logdir):
        if victim == STREAM:
            found = [fleet_victims.of_stream(streams.folder_of(self._listed[0], logdir))]
        else:
            found = fleet_victims.of_teachers(process.pid)
        return any(fleet_victims.kill(number) for number in found if number)

    def _of_stream(self, stream, logdir, summary):
        indices = _indices(streams.folder_of(stream, logdir))
        about = (summary or {"streams": {}})["streams"].get(stream.name, {})
        return {
            "restarts": about.get("restarts", 0),
            "state": about.get("state", "unknown"),
            "logged": len(indices),
            "each_frame_once": indices == list(range(len(indices))),
            **{name: about.get(name) for name in FIGURES},
        }


def _indices(logdir):
    """Returns the numbers of the frames in a run's frame log."""
    try:
        lines = (pathlib.Path(logdir) / "frames.jsonl").read_text("utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line)["frame"])
        except ValueError:  # it is just being written
            break
    return found


def _read(path):
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _last_line(logdir):
    lines = pathlib.Path(f"{logdir}.txt").read_text("utf-8", "replace").splitlines()
    return lines[-1] if lines else ""


def measure():
    """Runs the fleets that are missing in the file, which it writes after each; returns it."""
    for name in ("streams", "teacher", "work"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing")
    values = measurement.opened("experiments.fleet_kills", FORMAT, SETTINGS, NEW)
    listed = list(streams.read_list(FLAGS.streams).values())
    command_line.import_tensorflow()
    from jitnet_tf.runs.versions import versions

    values.update(machine=provenance.describe(), versions=versions())
    work = pathlib.Path(FLAGS.work).absolute()
    work.mkdir(parents=True, exist_ok=True)
    missing = [name for name in FLEETS if name not in values["fleets"]]
    for name in progress_bar(missing, unit="fleet"):
        done = values["fleets"].get(UNDISTURBED, {"streams": {}})["streams"]
        runner = Runner(listed, {name: about["logged"] for name, about in done.items()})
        values["fleets"][name] = runner.run(name, work / f"fleet-{FLEETS.index(name)}")
        measurement.write(FLAGS.output, values)
    return values


def render(values):
    """Returns the tables of a measurement's file."""
    fleets = values["fleets"]
    rows = [
        [
            *(name, str(fleet["kills"]), _yes(fleet["complete"] and fleet["status"] == 0)),
            _yes(all(is_whole(n, s, fleets) for n, s in fleet["streams"].items())),
            str(sum(s["restarts"] for s in fleet["streams"].values())),
            *(str(fleet["deaths"]), str(fleet["resumes"]), f"{fleet['seconds']:.0f}"),
        ]
        for name, fleet in fleets.items()
    ]
    head = ["fleet", "kills", "every stream ended", "each frame once", "restarts of streams"]
    table = markdown.table([*head, "deaths of teachers", "resumed", "seconds"], rows)
    names = list(next(iter(fleets.values()))["streams"]) if fleets else []
    figures = [
        [name, *(_figures(fleet["streams"][name]) for fleet in fleets.values())] for name in names
    ]
    scores = markdown.table(["mean IoU / teacher frames, %", *fleets], figures)
    return "\n\n".join([provenance.setting_in_words(values), table, scores])


def is_whole(name, stream, fleets):
    """Returns whether a stream has each frame once, as many as in the undisturbed fleet."""
    count = fleets[UNDISTURBED]["streams"][name]["logged"]
    return stream["each_frame_once"] and stream["logged"] == count > 0


def _figures(stream):
    shown = [stream["mean_iou"], stream["teacher_fraction"]]
    return " / ".join("–" if value is None else f"{100 * value:.1f}" for value in shown)


def _yes(value):
    return "yes" if value else "NO"


def main():
    """Measures, or prints a measurement."""
    measurement.measure_or_print(measure, render, FORMAT, "experiments.fleet_kills")


if __name__ == "__main__":
    define_flags()
    command_line.main(main)
