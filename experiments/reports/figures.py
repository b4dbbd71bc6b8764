"""Parts of the figures: choosing results and frames, panels, and the PNG."""

import itertools
import os
import pathlib

import cv2
import numpy as np
from absl import flags

from experiments.methods import METHODS, named
from experiments.protocol import jobs
from experiments.protocol.streams import GROUPS
from jitnet_tf import video
from jitnet_tf.base import files
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path
from jitnet_tf.labels import LabelMaker
from jitnet_tf.sinks.overlay import blend
from teacher.recorded import Recording

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito's
# A rule chooses a frame by its place in the order of accuracy (0: the lowest).
RULES = {"worst": 0.0, "median": 0.5, "best": 1.0}


def define_flags(output_help):
    """Defines the flags of all figures."""
    define_path("results", None, "Folder of the results of experiments.table2.", required=True)
    define_path("output", None, output_help, required=True)
    flags.DEFINE_list("streams", [], "Streams to show. Default: all with such results.")


def check_output(path, flag="output"):
    """Raises UserError unless `path` can be a PNG; an existing one will be replaced.

    flag: the command's flag for it.
    """
    if pathlib.Path(path).suffix.lower() != ".png":
        raise UserError(f"--{flag}={path} has to end in .png")
    if os.path.isdir(path):
        raise UserError(f"--{flag}={path} is a folder: name a file")


def save(figure, path, flag="output"):
    """Writes a matplotlib figure as PNG, all or nothing. flag: see `check_output`."""
    try:
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(
            path, lambda file: figure.savefig(file, format="png", dpi=110, facecolor="white")
        )
    except OSError as error:
        raise UserError(f"--{flag}={path} cannot be written ({error})") from None
    print(f"figure   {path}")


def results_of(results, methods, streams):
    """Chooses results to show, of the streams that have the first of `methods`.

    Args:
      results: `results.Results`.
      methods: names; see `methods.named`.
      streams: names. Empty: all.

    Returns:
      (stream's name, method) → result.

    Raises:
      UserError: a method is unknown; a stream or a method has no result.
    """
    for method in methods:
        try:
            named(method)
        except ValueError:
            known = ", ".join(METHODS)
            raise UserError(
                f"method {method!r} is unknown: give one of {known}, or settings of the student"
            ) from None
    found = {pair: result for pair, result in results.cells.items() if pair[1] in methods}
    having = sorted(stream for stream, method in found if method == methods[0])
    for stream in streams:
        if stream not in having:
            raise UserError(
                f"stream {stream!r} has no result of {methods[0]}; streams that have one: "
                f"{', '.join(having) or 'none'}"
            )
    chosen = streams or having
    if not chosen:
        raise UserError(f"there is no result of {methods[0]}: make it with experiments.table2")
    for method in methods:
        if not any((stream, method) in found for stream in chosen):
            raise UserError(f"there is no result of {method}: make it with experiments.table2")
    return {pair: r for pair, r in found.items() if pair[0] in chosen}


def choose(scores, rule):
    """Returns the key that a rule chooses of `scores`, key → number; of equal ones the first."""
    order = sorted(scores, key=lambda key: (scores[key], key))
    return order[round(RULES[rule] * (len(order) - 1))]


def kept_iou(result):
    """Returns the mean IoU of each frame with a kept prediction, by frame index."""
    return {int(index): iou for index, iou in result["frame_iou"].items()}


def side_by_side(y_label, *x_labels):
    """Returns a matplotlib figure, and axes in a row that share y, one for each of `x_labels`."""
    from matplotlib.figure import Figure

    figure = Figure((10, 4.6), layout="constrained")
    axes = figure.subplots(1, len(x_labels), sharey=True, squeeze=False)[0]
    for axis, x_label in zip(axes, x_labels, strict=True):
        axis.set(xlabel=x_label)
        axis.margins(x=0.1)  # room for names of points
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(y_label)
    return figure, axes


def name_point(axis, text, place, color, *, above):
    """Writes a point's name beside it: left and above, or right and below."""
    side = {"xytext": (-4, 5), "ha": "right"} if above else {"xytext": (4, -9), "ha": "left"}
    axis.annotate(text, place, **side, textcoords="offset points", fontsize=7, color=color)


def add_legend(figure, axis, columns):
    """Adds a legend of the lines of an axis above a figure."""
    lines = axis.get_legend_handles_labels()
    figure.legend(*lines, loc="outside upper center", ncols=columns, frameon=False)


class Pictures:
    """Panels of a stream's frames with the segmentations of teacher and methods.

    Args:
      results: folder of all results.
      stream: the stream's values in a result.
      indices: of the frames to show.

    Raises:
      UserError: the video, the recording or a kept prediction is missing.
    """

    def __init__(self, results, stream, indices):
        self._results = results
        self._name = stream["name"]
        self._label_maker = LabelMaker(GROUPS)
        self._frames, self._labels = {}, {}
        with (
            Recording(stream["recording"]) as recording,
            video.open_source(stream["video"], recording.frame_size) as source,
        ):
            for index in sorted(set(indices)):
                source.skip(index - source.decoded)
                for frame in itertools.islice(source, 1):
                    self._frames[index] = frame
                    self._labels[index] = self._label_maker.labels(
                        recording(frame, index), frame.shape[:2]
                    )
        if missing := set(indices) - self._frames.keys():
            raise UserError(f"{stream['video']!r} has no frame {min(missing)} any more")

    def frame(self, index):
        """Returns the frame, uint8 RGB [H, W, 3]."""
        return self._frames[index]

    def teacher(self, index):
        """Returns the frame with the teacher's labels over it, uint8 RGB [H, W, 3]."""
        return blend(self._frames[index], self._labels[index])

    def method(self, index, method):
        """Returns the frame with a method's prediction over it, uint8 RGB [H, W, 3]."""
        folder = jobs.folder(self._results, self._name, method) / jobs.MASKS
        path = folder / f"{index:06d}.png"
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
        frame = self._frames[index]
        if mask is None or mask.shape != frame.shape[:2]:
            raise UserError(f"the prediction {path} is missing or of another size")
        return blend(frame, mask)


def grid(panels, heads, sides, width=2.6):
    """Returns a matplotlib figure of panels.

    Args:
      panels: rows of uint8 RGB arrays; None leaves a place empty.
      heads: a text for each column.
      sides: a text for each row.
      width: of a panel, in inches.
    """
    from matplotlib.figure import Figure

    heights = [max(p.shape[0] / p.shape[1] for p in row if p is not None) * width for row in panels]
    size = (width * len(heads) + 0.4, sum(heights) + 0.3 + 0.05 * len(heights))
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(len(panels), len(heads), squeeze=False, height_ratios=heights)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for row, (row_axes, row_panels) in enumerate(zip(axes, panels, strict=True)):
        for column, (axis, panel) in enumerate(zip(row_axes, row_panels, strict=True)):
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if panel is not None:
                axis.imshow(_shrink(panel))
            if row == 0:
                axis.set_title(heads[column], fontsize=8)
            if column == 0:
                axis.set_ylabel(sides[row], fontsize=8)
    return figure


def _shrink(panel, width=480):
    """Shrinks a panel to its shown width; matplotlib's resampling would blur thin borders more."""
    height = round(panel.shape[0] * width / panel.shape[1])
    if panel.shape[1] <= width:
        return panel
    return np.ascontiguousarray(cv2.resize(panel, (width, height), interpolation=cv2.INTER_AREA))
