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

import cv2
import numpy as np
from absl import flags

from experiments import methods
from experiments.methods import first_annotation
from experiments.protocol import davis_measures, evaluation, streams
from experiments.reports import command, davis
from experiments.reports.results import Results
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import class_groups
from teacher.recorded import Recording

FLAGS = flags.FLAGS
LIST = pathlib.Path(__file__).parent / "streams" / "davis_objects.csv"
TABLE = "davis.md"
METHODS = davis.METHODS


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
        annotation = first_annotation.read(stream.video, index, class_ids.shape)
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
    """Finds out whether a stream can be scored.

    Raises:
      UserError: as `streams.check` does; or a frame is not annotated, or the first has no object.
    """
    frames = streams.check(stream)
    if frames < 3:
        raise UserError(
            f"stream {stream.name}: the benchmark leaves out the first frame and the last, and "
            f"there are only {frames}"
        )
    with Recording(stream.recording) as recording:
        for index in range(frames):
            mask = first_annotation.read(stream.video, index, recording.frame_size)
            if index == 0 and not mask.any():
                raise UserError(
                    f"the annotation {first_annotation.path(stream.video, 0)} has no object: "
                    "such a sequence cannot be learned from; take it out of the list"
                )


def define_flags():
    """Defines this command's flags."""
    d = methods.Settings()
    command.define_flags(str(LIST))
    flags.DEFINE_string(
        "davis", None, "DAVIS's root folder, with JPEGImages and Annotations: instead of --videos."
    )
    flags.DEFINE_string("init", d.init, "Initial weights of all students; see jitnet_tf.distill.")
    flags.DEFINE_integer("seed", d.seed, "Of initial weights.", lower_bound=0)
    flags.DEFINE_integer(
        "annotation_updates",
        d.annotation_updates,
        "Updates of first_annotation on the first frame.",
        lower_bound=1,
    )


def main():
    """See the module."""
    if FLAGS.print:
        print(davis.report(Results.load(FLAGS.print)))
        return
    FLAGS.videos = _frames_folder()
    listed = command.listed_streams()
    names, chosen = methods.select(FLAGS.only, listed, METHODS)
    for stream in chosen:
        check(stream)
    command.make_results(chosen, names, command.settings(), FLAGS.results, evaluate)
    command.show_tables(davis.report, listed, TABLE)


def _frames_folder():
    """The folder of --davis that holds the sequences' folders of frames."""
    if not FLAGS.davis or FLAGS.videos:
        raise UserError("--davis is to be DAVIS's root folder, and --videos is not to be given")
    for kind in (first_annotation.FRAMES, first_annotation.ANNOTATIONS):
        folder = pathlib.Path(FLAGS.davis, kind, first_annotation.RESOLUTION)
        if not folder.is_dir():
            raise UserError(
                f"--davis={FLAGS.davis} is not DAVIS's root folder: there is no folder {folder}"
            )
    return str(pathlib.Path(FLAGS.davis, first_annotation.FRAMES, first_annotation.RESOLUTION))


if __name__ == "__main__":
    define_flags()
    command_line.main(main)
