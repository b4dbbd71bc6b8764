"""The predictions of the LVS dataset (Long Video Streams, §4 of the paper) as a teacher.

A stream of LVS is a folder of video chunks, each with the predictions of Detectron's Mask R-CNN on
all of its frames:

    driving1/driving1000.mp4
    driving1/detectron_large_mask_rcnn_1_driving1000.npy
    driving1/driving1001.mp4
    …

The names are those of EastGit0/JITNet_segmentation (dataloaders/lvs_dataset.py) and of the authors'
scripts. The format is that of ravi-teja-mullapudi/Detectron.pytorch (tools/infer_video_stream.py),
which wrote the files; the readers of the authors and of EastGit0 (dataloaders/maskrcnn_stream.py)
agree with it:

- numpy.save of one dictionary, so an uncompressed pickle in a .npy file: frame number →
  [boxes, class ids, scores, masks], objects ordered by class;
- frames are counted from 0 in each chunk, as OpenCV decodes them; each has an entry;
- boxes float64 [N, 4], (ymin, xmin, ymax, xmax) in units of the frame's height and width; without
  objects an empty array, or None in the program's first version, whose boxes in pixels raise
  UserError here;
- class ids are a list of Detectron's 1…80;
- scores float32 [N], from Detectron's .05 on;
- masks are a list of N float32 [28, 28], probabilities inside the box.

Plain pickles under a chunk's name (driving1000.pkl) and masks as one array are accepted, too. The
authors' reader leaves out each chunk's last frame; here all frames count.

A pickle can name any function to call. `load` knows the few names that arrays need and refuses all
others.
"""

import hashlib
import math
import pathlib
import pickle
import re

import numpy as np

from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from teacher.base import Teacher
from teacher.coco import DETECTRON_IDS
from teacher.detections import MIN_SCORE, from_box_masks

PREFIX = "detectron_large_mask_rcnn_1_"
# More than Detectron finds on a frame (100 objects, masks of 28×28, boxes inside the frame).
MAX_OBJECTS = 1000
MAX_MASK_SIDE = 1024
MAX_COORDINATE = 2.0
DTYPES = re.compile("b1|[iu][1248]|f[248]|O[48]?")


class _Dtype:
    """Stands in for numpy.dtype, whose state can be forged so that arrays reach foreign memory."""

    def __init__(self, name, *_):
        if not DTYPES.fullmatch(name):
            raise ValueError(f"an array of type {name[:20]!r}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array whose dtype comes as a `_Dtype`."""

    def __setstate__(self, state):
        version, shape, kind, is_fortran, data = state
        if kind.dtype == object and math.prod(shape) != len(data):  # numpy reserves it all first
            raise ValueError(f"an array of shape {shape} with {len(data)} elements")
        super().__setstate__((version, shape, kind.dtype, is_fortran, data))


class _RefusedError(Exception):
    """The pickle names something that is not numpy's."""


class _Unpickler(pickle.Unpickler):
    """Makes plain containers, numbers, text and arrays, and refuses any other class.

    A hostile pickle can waste memory or end the process, but not run a program: it gets nothing of
    numpy's to call, only the methods below, which its BUILD opcodes cannot redefine.
    """

    def find_class(self, module, name):
        known = {
            "numpy.ndarray": (),  # only ever an argument of _reconstruct
            "numpy.dtype": _Dtype,
            "numpy.core.multiarray._reconstruct": self._empty_array,
            "numpy.core.multiarray.scalar": self._number,
            "_codecs.encode": str.encode,  # how Python 3 writes bytes for Python 2
            "__builtin__.bytes": bytes,
        }
        full_name = f"{module}.{name}"
        try:
            return known[full_name.replace("numpy._core.", "numpy.core.")]  # numpy 2, numpy 1
        except KeyError:
            raise _RefusedError(full_name) from None

    def _empty_array(self, *_):
        return np.ndarray.__new__(_Array, 0)

    def _number(self, kind, data):
        data = data.encode("latin1") if isinstance(data, str) else data  # Python 2's bytes
        (number,) = np.frombuffer(data, kind.dtype)
        return number.item()


def load(path):
    """Reads a chunk's predictions: frame number → entry, for `detections_of`.

    Raises:
      UserError: no such file, damaged, not of LVS, or one that could run a program.
    """
    try:
        with open(path, "rb") as file:
            is_npy = file.read(6) == b"\x93NUMPY"
            file.seek(0)
            if is_npy:
                np.lib.format.read_magic(file)
                np.lib.format.read_array_header_1_0(file)
            found = _Unpickler(file, encoding="latin1").load()
        if is_npy:
            found = found.item()
        if type(found) is not dict or any(int(frame) != frame for frame in found):
            raise ValueError("not a dictionary by frame number")
        return {int(frame): entry for frame, entry in found.items()}
    except _RefusedError as error:
        raise UserError(
            f"predictions {str(path)!r} ask for {str(error)[:80]!r}, which could run a program and "
            "is not part of LVS: download them again, from a source that you trust"
        ) from None
    except OSError as error:
        raise UserError(f"predictions {str(path)!r} cannot be read ({error.strerror})") from None
    except Exception as error:  # damaged pickles raise errors of nearly every kind
        raise UserError(
            f"predictions {str(path)!r} are damaged, or not of LVS "
            f"({repr(error)[:80]}): download them again"
        ) from error


def detections_of(entry, frame_size):
    """Returns the Detections of an entry of `load` on a frame of frame_size (H, W).

    Raises:
      ValueError or TypeError: the entry is invalid.
    """
    parts = [_items(part) for part in _items(entry)]
    if len(parts) != 4:
        raise ValueError(f"{len(parts)} lists in place of boxes, classes, scores and masks")
    boxes, classes, scores, masks = parts
    if not len(boxes) == len(classes) == len(scores) == len(masks) <= MAX_OBJECTS:
        raise ValueError(
            f"{len(boxes)} boxes, {len(classes)} classes, {len(scores)} scores, {len(masks)} masks"
        )
    boxes = np.array([_numbers(box, (4,)) for box in boxes], np.float64).reshape(-1, 4)
    classes = [_numbers(number, ()).item() for number in classes]
    scores = np.array([_numbers(score, ()) for score in scores], np.float32)
    masks = [_numbers(mask, (None, None)) for mask in masks]
    if any(number not in DETECTRON_IDS for number in classes):
        raise ValueError("class ids other than Detectron's 1 to 80")
    if (np.abs(boxes) > MAX_COORDINATE).any():
        raise ValueError("boxes in pixels, not in units of the frame")
    if any(not all(1 <= side <= MAX_MASK_SIDE for side in mask.shape) for mask in masks):
        raise ValueError("masks of an invalid size")
    ids = [DETECTRON_IDS[number] for number in classes]
    return from_box_masks(boxes, ids, scores, masks, frame_size, MIN_SCORE)


def _items(found):
    """Returns a list, a tuple or an array unchanged, and for None an empty tuple."""
    if found is None:
        return ()
    if not isinstance(found, list | tuple | np.ndarray):
        raise TypeError(f"a {type(found).__name__} in place of a list or an array")
    return found


def _numbers(found, shape):
    """Returns an array of numbers of this shape, in which None is any length."""
    if isinstance(found, list | tuple) and any(type(n) not in (int, float) for n in found):
        raise TypeError("a list with other elements than numbers")
    found = np.asarray(found)
    is_like = found.ndim == len(shape) and all(
        wanted in (None, side) for wanted, side in zip(shape, found.shape, strict=True)
    )
    if not is_like or found.dtype.kind not in "biuf":
        raise ValueError(f"numbers of shape {found.shape}")
    return found


class Predictions(Teacher):
    """The predictions of one stream of LVS as a teacher.

    It holds one chunk's predictions at a time, and compares the first frame of each chunk with the
    chunk's video, so that frame numbers cannot be off.

    Args:
      folder: the stream's: chunks of video with their predictions.

    Attributes:
      header: teacher and teacher_sha256, for a recording's header.

    Raises:
      UserError: no such folder, a chunk without video or predictions, predictions that `load`
        refuses, a frame without predictions, or frames of another video.
    """

    precomputed = True  # LVS does not state how long the model took

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        if not self.folder.is_dir():
            raise UserError(f"there is no folder {str(folder)!r}: give one with a stream of LVS")
        self._videos = video.video_files(self.folder)
        if not self._videos:
            raise UserError(f"the folder {str(folder)!r} holds no video: give a stream of LVS")
        self._files = [self._predictions_of(chunk) for chunk in self._videos]
        for file in sorted(self.folder.glob(PREFIX + "*")):
            if file not in self._files:
                name = file.stem.removeprefix(PREFIX)
                raise UserError(f"there are predictions {str(file)!r}, but no video {name}.mp4")
        self._starts = [0]  # number of each chunk's first frame, for the chunks loaded so far
        self._chunk, self._frames = None, None
        self.header = {
            "teacher": f"lvs:{self.folder.resolve().name}",
            "teacher_sha256": self._digest(),
        }

    def _predictions_of(self, chunk):
        names = (f"{PREFIX}{chunk.stem}.npy", f"{chunk.stem}.npy", f"{chunk.stem}.pkl")
        for name in names:
            if (self.folder / name).is_file():
                return self.folder / name
        raise UserError(f"the video {str(chunk)!r} has no predictions beside it: no {names[0]}")

    def _digest(self):
        """Returns a digest of the files' names, sizes, beginnings and ends: they have gigabytes."""
        digest = hashlib.sha256()
        for path in self._files:
            size = path.stat().st_size
            digest.update(f"{path.name} {size} ".encode())
            with open(path, "rb") as file:
                digest.update(file.read(1 << 16))
                file.seek(max(size - (1 << 16), 0))
                digest.update(file.read())
        return digest.hexdigest()[:16]

    def __call__(self, frame, index):
        """Returns the predictions on frame `index` of the stream, uint8 RGB [H, W, 3]."""
        chunk = self._open_chunk_of(index)
        number = index - self._starts[chunk]
        if number == 0:
            self._check_first(frame, index, self._videos[chunk])
        path = self._files[chunk]
        if number not in self._frames:
            rest = f", or end before it: --max_frames={index}" if index else ""
            raise UserError(
                f"predictions {str(path)!r} have none for frame {number}: download them again{rest}"
            )
        try:
            return detections_of(self._frames[number], frame.shape[:2])
        except (ValueError, TypeError) as error:
            raise UserError(
                f"predictions {str(path)!r} are not of LVS: frame {number} has {error}"
            ) from error

    def _open_chunk_of(self, index):
        """Loads the chunk that contains frame `index`; returns its number."""
        while len(self._starts) <= len(self._videos) and self._starts[-1] <= index:
            chunk = len(self._starts) - 1
            self._load(chunk)
            self._starts.append(self._starts[-1] + self._length(chunk))
        if index >= self._starts[-1]:
            raise UserError(
                f"the stream {str(self.folder)!r} ends after {self._starts[-1]} frames and frame "
                f"{index} is needed: give --video={self.folder}, or --max_frames={self._starts[-1]}"
            )
        chunk = max(i for i, start in enumerate(self._starts) if start <= index)
        self._load(chunk)
        return chunk

    def _load(self, chunk):
        if chunk != self._chunk:
            self._chunk = self._frames = None  # free it before the next is loaded
            self._frames = load(self._files[chunk])
            self._chunk = chunk

    def _length(self, chunk):
        """Returns the loaded chunk's number of frames; counts them if the header may be wrong."""
        predicted = 1 + max(self._frames, default=-1)
        with video.open_source(str(self._videos[chunk].resolve())) as source:
            return predicted if source.announced_frames == predicted else source.skip(1 << 62)

    def _check_first(self, frame, index, chunk):
        with video.open_source(str(chunk.resolve()), frame.shape[:2]) as source:
            if not np.array_equal(frame, next(source)):
                rest = "; if so, copy the chunk before it again, it is damaged" if index else ""
                raise UserError(
                    f"frame {index} is not the first of {str(chunk)!r}: give --video={self.folder}"
                    + rest
                )
