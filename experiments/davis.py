"""DAVIS: region similarity J and contour accuracy F of students and teacher (paper, supplement).

    for s in DAVIS/JPEGImages/480p/*; do python -m teacher.record --video=$s --teacher=TEACHER \\
        --output=RECORDINGS/$(basename $s).recording; done
    python -m experiments.davis --davis=DAVIS --recordings=RECORDINGS --results=runs/davis
    python -m experiments.davis --print=runs/davis

What is scored against the annotated masks is the union of the classes that the list gives a
sequence, streams/davis_objects.csv by default. Of the methods, `first_annotation` is the
benchmark's own semi-supervised setting: the student learns the annotation of the first frame and
stays as it then is; the others see no annotation. Interrupted, the same command goes on. `--print`
makes the tables from the results alone.
"""

import dataclasses
import pathlib
import sys

import cv2
import numpy as np
from absl import flags

from experiments import (
    annotations,
    davis_measures,
    davis_report,
    evaluation,
    jobs,
    methods,
    streams,
)
from jitnet_tf import checkpoint, cli
from jitnet_tf.errors import UserError
from jitnet_tf.labels import class_groups
from teacher.recorded import Recording

FLAGS = flags.FLAGS
LIST = pathlib.Path(__file__).parent / "streams" / "davis_objects.csv"
TABLE = "davis.md"
METHODS = davis_report.METHODS


def evaluate(stream, frames, method, settings, masks, on_step):
    """`evaluation.evaluate`, keeping all predictions, with J and F added to its result."""
    result = evaluation.evaluate(stream, frames, method, settings, masks, on_step, kept_distance=1)
    return {**result, "davis": score(stream, frames, masks)}


def score(stream, frames, masks):
    """J and F of kept predictions, on every frame and summed up, as values for JSON.

    stream: a `streams.Stream`, whose classes make up the foreground. frames: how many there are.
    masks: a folder of class-id PNGs of all of them.
    """
    names = class_groups("lvs").names
    foreground = [names.index(name) for name in stream.classes]
    values = {"J": [], "F": []}
    for index in range(frames):
        class_ids = cv2.imread(str(masks / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED)
        annotation = annotations.read(stream.video, index, class_ids.shape)
        prediction = np.isin(class_ids, foreground)
        values["J"].append(davis_measures.region_similarity(annotation, prediction))
        values["F"].append(davis_measures.contour_accuracy(annotation, prediction))
    return {
        measure: {
            "frames": [round(value, 4) for value in all_frames],
            **dataclasses.asdict(davis_measures.statistics(all_frames[davis_measures.SCORED])),
        }
        for measure, all_frames in values.items()
    }


def check(stream):
    """`streams.check`, and that all frames are annotated; returns how many there are."""
    frames = streams.check(stream)
    if frames < 3:
        raise UserError(
            f"stream {stream.name}: the benchmark leaves out the first frame and the last, and "
            f"there are only {frames}"
        )
    with Recording(stream.recording) as recording:
        for index in range(frames):
            mask = annotations.read(stream.video, index, recording.frame_size)
            if index == 0 and not mask.any():
                raise UserError(
                    f"the annotation {annotations.path(stream.video, 0)} has no object: such a "
                    "sequence cannot be learned from; take it out of the list"
                )
    return frames


def define_flags():
    """Defines this command's flags."""
    d = methods.Settings()
    flags.DEFINE_string("davis", None, "DAVIS's root folder, with JPEGImages and Annotations.")
    flags.DEFINE_string("streams", str(LIST), "List of sequences; see experiments.streams.")
    flags.DEFINE_string("recordings", None, "Folder of the list's recordings.")
    flags.DEFINE_string("results", None, "Folder for the results.")
    flags.DEFINE_list(
        "only", [], f"Methods ({', '.join(METHODS)}) and sequences to evaluate. Default: all."
    )
    flags.DEFINE_integer("jobs", 1, "Evaluations to run side by side.", lower_bound=1)
    flags.DEFINE_string("print", None, "Folder of results to print the tables of; runs nothing.")
    flags.DEFINE_string("init", d.init, "Initial weights of all students; see jitnet_tf.distill.")
    flags.DEFINE_integer("seed", d.seed, "Of initial weights.", lower_bound=0)
    flags.DEFINE_integer(
        "annotation_updates",
        d.annotation_updates,
        "Updates of first_annotation on the first frame.",
        lower_bound=1,
    )


def main(argv):
    """See the module."""
    del argv
    if FLAGS.print:
        print(davis_report.report(jobs.load_all(FLAGS.print)))
        return
    for name in ("davis", "recordings", "results"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing; --help lists the flags")
    videos = pathlib.Path(FLAGS.davis, annotations.FRAMES, annotations.RESOLUTION)
    for folder in (videos, pathlib.Path(FLAGS.davis, annotations.ANNOTATIONS)):
        if not folder.is_dir():
            raise UserError(
                f"--davis={FLAGS.davis} is not DAVIS's root folder: there is no folder {folder}"
            )
    settings = methods.Settings(
        init=FLAGS.init, seed=FLAGS.seed, annotation_updates=FLAGS.annotation_updates
    )
    listed = streams.read_list(FLAGS.streams, str(videos), FLAGS.recordings)
    names, chosen = methods.select(FLAGS.only, listed, METHODS)
    methods.check(settings, names)
    frames = {stream.name: check(stream) for stream in chosen}
    work = [(stream, method) for stream in chosen for method in names]
    pairs = [
        (stream, frames[stream.name], method)
        for stream, method in jobs.still_to_do(work, FLAGS.results, settings)
    ]
    try:
        pathlib.Path(FLAGS.results).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--results={FLAGS.results} cannot be written ({error})") from None
    complete = not pairs or jobs.run(pairs, settings, FLAGS.results, FLAGS.jobs, evaluate)
    if not complete:
        print(f"stopped early; the same command goes on ({FLAGS.results})")
        sys.exit(cli.EXIT_INTERRUPTED)
    sequences = {stream.name for stream in listed}
    found = [r for r in jobs.load_all(FLAGS.results) if r["stream"]["name"] in sequences]
    text = davis_report.report(found)
    table = pathlib.Path(FLAGS.results, TABLE)
    checkpoint.write_text(table, text + "\n")
    print(text)
    print(f"\n{table}: the tables above")


if __name__ == "__main__":
    define_flags()
    cli.main(main)
