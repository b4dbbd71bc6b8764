"""An event file of TensorBoard, in which every event is whole or not there."""

import io
import itertools
import os
import socket
import time
from pathlib import Path

import cv2
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.image.metadata import create_summary_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

from jitnet_tf.sinks.disk import AppendedFile

_NUMBERS = itertools.count()


class EventFile:
    """Writes summaries at once, without TensorFlow, whose writer loses some on a full disk.

    Args:
      folder: where it is made, under a name of its own.
      suffix: the end of that name.

    Raises:
      UserError: here or in `write`, if the disk is full or the like; `write` can be called again.
    """

    def __init__(self, folder: str | os.PathLike, suffix: str = ".v2"):
        # TensorBoard reads the files of a folder in the order of their names.
        by = f"{int(time.time())}.{socket.gethostname()}.{os.getpid()}.{next(_NUMBERS):06d}"
        self._file = AppendedFile(Path(folder) / f"events.out.tfevents.{by}{suffix}")
        try:
            self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        except BaseException:
            self.close()
            raise

    def write(self, summary: Summary, step: int) -> None:
        """Appends a summary of one step."""
        self._append(Event(wall_time=time.time(), step=step, summary=summary))

    def _append(self, event):
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        self._file.append(record.getvalue())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def scalars_pb(values):
    """Returns a summary of scalars, name → value."""
    summary = Summary()
    for name, value in values.items():
        summary.MergeFrom(scalar_pb(name, value))
    return summary


def image_pb(name, picture):
    """Returns a summary of a picture, uint8 RGB [H, W, 3]."""
    height, width, _ = picture.shape
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
    made = Summary()
    made.value.add(
        tag=name,
        metadata=create_summary_metadata(display_name=None, description=None),
        tensor=make_tensor_proto([str(width).encode(), str(height).encode(), encoded]),
    )
    return made
