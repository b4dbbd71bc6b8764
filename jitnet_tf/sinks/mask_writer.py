"""Class maps on disk, resumable after a kill -9: a resumed run replaces its last ones."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from jitnet_tf.base import files
from jitnet_tf.base.errors import UserError
from jitnet_tf.sinks.disk import disk_errors_as_user_errors, make_writable

_CLASSES = "classes.json"


class MaskWriter:
    """Writes class maps as PNGs, 000000.png and so on, whose gray values are class ids.

    Beside them, classes.json maps ids to names: {"0": "background", ...}.

    Args:
      directory: created if need be.
      class_names: the names, background included, by class id.
      resume_at: the frame index to resume at; masks from there on are deleted. None for a new
        set.
      overwrite: whether a new set may replace the masks in the folder.

    Raises:
      UserError: here, if the folder cannot be written or holds masks; later, if writing fails.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        class_names: Sequence[str],
        *,
        resume_at: int | None = None,
        overwrite: bool = False,
    ):
        self._directory = Path(directory)
        self.check(directory, resumed=resume_at is not None, overwrite=overwrite)
        with disk_errors_as_user_errors(self._directory):
            for name in _mask_names(self._directory):
                if int(name[1]) >= (resume_at or 0):
                    (self._directory / name[0]).unlink()
            classes = json.dumps(dict(enumerate(class_names)), indent=1) + "\n"
            files.write_text(self._directory / _CLASSES, classes)

    @staticmethod
    def check(directory: str | os.PathLike, *, resumed: bool, overwrite: bool) -> None:
        """Raises UserError if masks cannot be written; makes the folder, nothing else.

        Numbered PNGs are replaced only if a classes.json of masks is beside them: without it they
        could be the user's own images.
        """
        directory = Path(directory)
        make_writable(directory)
        names, classes = _mask_names(directory), directory / _CLASSES
        if (names or classes.exists()) and not _names_classes(classes):
            raise UserError(
                f"the folder {directory} holds other files named like masks: give another folder"
            )
        if names and not (resumed or overwrite):
            raise UserError(
                f"the folder {directory} holds masks: give --overwrite or another folder"
            )

    def write(self, index: int, class_map: np.ndarray) -> None:
        """Writes the mask of frame `index`; `class_map` is uint8 [H, W]."""
        path = self._directory / f"{index:06d}.png"
        with disk_errors_as_user_errors(self._directory):
            Path(f"{path}.tmp").write_bytes(cv2.imencode(".png", class_map)[1])
            os.replace(f"{path}.tmp", path)


def _mask_names(directory: Path) -> list[re.Match]:
    found = (re.fullmatch(r"([0-9]{6,})\.png(\.tmp)?", p.name) for p in directory.iterdir())
    return [name for name in found if name]


def _names_classes(path: Path) -> bool:
    """Returns whether the file is a classes.json as `MaskWriter` writes it."""
    try:
        content = files.parse_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("0") == "background"
