"""DAVIS: region similarity J and contour accuracy F of students and teacher (paper, supplement).

    for s in DAVIS/JPEGImages/480p/*; do python -m teacher.record --video=$s --teacher=TEACHER \\
        --output=RECORDINGS/$(basename $s).recording; done
    python -m experiments.davis --davis=DAVIS --recordings=RECORDINGS --results=runs/davis
    python -m experiments.davis --print=runs/davis

It scores the union of the classes that the list gives a sequence (by default
streams/davis_objects.csv) against the annotated masks. The method `first_annotation` is the
benchmark's semi-supervised setting: the student learns the annotation of the first frame and is
then frozen. The other methods use no annotation. After an interruption the same command makes the
missing results. `--print` makes the tables from results alone.
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
from jitnet_tf.base.paths import define_path
from teacher.recorded import Recording

FLAGS = flags.FLAGS
LIST = pathlib.Path(__file__).parent / "streams" / "davis_objects.csv"
TABLE = "davis.md"
METHODS = davis.METHODS


def evaluate(stream, frames, method, settings, masks, on_step):
    """Calls `evaluation.evaluate`, keeps all predictions, and adds J and F to its result."""
    result = evaluation.evaluate(stream, frames, method, settings, masks, on_step, kept_distance=1)
    return {**result, "davis": score(stream, frames, masks)}


def score(stream, frames, masks):
    """Returns J and F of kept predictions, of every frame and as statistics, as JSON values.

    stream: a `streams.Stream`; its classes are the foreground. frames: their number. masks: folder
    of class-id PNGs of all frames.
    """
    foreground = [streams.GROUPS.names.index(name) for name in stream.classes]
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
    """Checks that a stream can be scored.

    Raises:
      UserError: as `streams.check` does; or an annotation is missing, or the first has no object.
    """
    frames = streams.check(stream)
    if frames < 3:
        raise UserError(
            f"stream {stream.name}: it has {frames} frames, and the benchmark leaves out the first "
            "and the last: take it out of the list"
        )
    with Recording(stream.recording) as recording:
        for index in range(frames):
            mask = first_annotation.read(stream.video, index, recording.frame_size)
            if index == 0 and not mask.any():
                raise UserError(
                    f"the annotation {first_annotation.path(stream.video, 0)} has no object: "
                    "take the sequence out of the list"
                )


def define_flags():
    """Defines the flags of the evaluation on DAVIS."""
    command.define_flags(str(LIST))
    define_path(
        "davis", None, "DAVIS's root folder, with JPEGImages and Annotations: instead of --videos."
    )
    methods.define_flags(METHODS)


def main():
    """Makes the missing results and prints the tables, or prints them only."""
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
    """Returns the folder in --davis with the sequences' folders of frames."""
    if not FLAGS.davis or FLAGS.videos:
        raise UserError("give DAVIS's root folder as --davis, and leave --videos out")
    for kind in (first_annotation.FRAMES, first_annotation.ANNOTATIONS):
        folder = pathlib.Path(FLAGS.davis, kind, first_annotation.RESOLUTION)
        if not folder.is_dir():
            raise UserError(
                f"--davis={FLAGS.davis} is not DAVIS's root folder: {folder} is missing"
            )
    return str(pathlib.Path(FLAGS.davis, first_annotation.FRAMES, first_annotation.RESOLUTION))


if __name__ == "__main__":
    define_flags()
    command_line.main(main)
