"""The student's classes, and labels of them: from detections, as files, and what they leave out."""

from jitnet_tf.labels.groups import (
    BACKGROUND,
    LVS,
    MAX_CLASSES,
    PRESETS,
    ClassGroups,
    class_groups,
)
from jitnet_tf.labels.maker import LabelMaker

__all__ = [
    "BACKGROUND",
    "LVS",
    "MAX_CLASSES",
    "PRESETS",
    "ClassGroups",
    "LabelMaker",
    "class_groups",
]
