"""Timing of the product: the sample clip distilled from its recorded teacher, by stage."""

import pathlib
import statistics
import tempfile
import time

import cv2
import numpy as np

from experiments.reports import costs
from experiments.speed import peers
from jitnet_tf import distill, video
from jitnet_tf.config import RunConfig, StudentConfig
from teacher.detections import Detections
from teacher.recorded import Recording
from teacher.recorder import Recorder

COMPUTING = ("teacher", *costs.STUDENT_STAGES)
BARE, FULL = "no output", "overlay and masks"
TURNS = 2  # of each kind of run


def resized(detections, before, after):
    """Returns detections of a frame of size `before`, (H, W), for one of size `after`."""
    masks, origins = [], []
    for mask, origin in zip(detections.masks, detections.origins, strict=True):
        whole = np.zeros(before, np.uint8)
        whole[origin[0] : origin[0] + mask.shape[0], origin[1] : origin[1] + mask.shape[1]] = mask
        whole = cv2.resize(whole, after[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
        rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
        if rows.size:
            y, x = rows[0], columns[0]
            masks.append(whole[y : rows[-1] + 1, x : columns[-1] + 1])
        else:
            y = x = 0
            masks.append(np.zeros((0, 0), bool))
        origins.append((y, x))
    return Detections(
        detections.boxes,  # in units of the frame
        detections.classes,
        detections.scores,
        tuple(masks),
        np.array(origins, np.int32).reshape(-1, 2),
    )


def record(path, frame_size, frames):
    """Writes the sample's recording for frames of another size: the same masks, resized.

    Returns the number of frames, at most `frames`.
    """
    with Recording(distill.SAMPLE_RECORDING) as recording:
        before = recording.frame_size
        kept = ("teacher", "min_score")
        header = {name: recording.header[name] for name in kept}
        header |= {"video": distill.SAMPLE, "height": frame_size[0], "width": frame_size[1]}
        recorder = Recorder(path, header)
        with video.open_source(distill.SAMPLE) as source:
            for index, frame in zip(range(min(frames, len(recording))), source, strict=False):
                detections = resized(recording(frame, index), before, frame_size)
                shown = cv2.resize(frame, frame_size[::-1])
                recorder.append(shown, detections, recording.seconds(index))
        recorder.close()
    return recorder.count


def run(config):
    """Executes a run of a RunConfig; returns its times as plain values.

    Outputs have a thread of their own, so that stages can add up to more than the wall clock.
    """
    from jitnet_tf.runs.run import Run

    with Run(config) as opened:
        start = time.perf_counter()
        summary = opened.execute()
        wall = time.perf_counter() - start
    seconds = summary["seconds"]
    return {
        "frames": summary["frames"],
        "updates": summary["updates"],
        "teacher_frames": summary["teacher_frames"],
        "wall_seconds": wall,
        "seconds": seconds,
        "fps": summary["frames"] / wall,
        "computing": sum(seconds.get(stage, 0) for stage in COMPUTING) / wall,
    }


def measure(network, frames):
    """Executes runs without and with output in turns; returns their times as plain values.

    In these, "slower" is the median wall clock with output over the one without, minus 1.

    Args:
      network: a `peers.Network` with the sample's classes.
      frames: number of frames to run, at most.
    """
    runs = {BARE: [], FULL: []}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        recording = folder / "sample.recording"
        count = record(recording, network.frame_size, frames)
        student = StudentConfig(width=network.width, normalization=network.normalization)
        init = RunConfig.init if student == StudentConfig() else "random"
        for turn in range(TURNS):
            for kind in runs:
                logdir = folder / f"{len(kind)}-{turn}"
                full = kind == FULL
                config = RunConfig(
                    video=distill.SAMPLE,
                    teacher=f"recorded:{recording}",
                    logdir=str(logdir),
                    output=None if full else "none",
                    masks=str(logdir / "masks") if full else None,
                    frame_size=network.frame_size,
                    max_frames=count,
                    init=init,
                    student=student,
                )
                runs[kind].append(peers.call_in_process(run, config))
    walls = [statistics.median(r["wall_seconds"] for r in runs[kind]) for kind in runs]
    slower = walls[1] / walls[0] - 1
    return {"frames": count, "precision": student.precision, "slower": slower, "runs": runs}
