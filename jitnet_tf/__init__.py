"""Online model distillation for video: a compact student learns from its teacher on the stream."""

import importlib
import os

__version__ = "0.1.0"

# Read when TensorFlow is imported. It is TensorFlow's default only on newer CPUs, but makes updates
# 1.5 times as fast on those with AVX2 alone, too. One setting makes runs comparable.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# The public names of the library, imported on first use (PEP 562): TensorFlow takes seconds.
_PUBLIC = {
    "CallableTeacher": "teacher.python_function",
    "Detections": "teacher.detections",
    "Distiller": "jitnet_tf.distillation.distiller",
    "FrameResult": "jitnet_tf.distillation.result",
    "LabelMaker": "jitnet_tf.labels",
    "Run": "jitnet_tf.runs.run",
    "RunConfig": "jitnet_tf.config",
    "Schedule": "jitnet_tf.distillation.schedules.paper",
    "Sink": "jitnet_tf.sinks.base",
    "Student": "jitnet_tf.student.student",
    "StudentConfig": "jitnet_tf.config",
    "UpdatePolicy": "jitnet_tf.distillation.policies.base",
    "UserError": "jitnet_tf.base.errors",
    "build_student": "jitnet_tf.student.build",
    "class_groups": "jitnet_tf.labels",
    "open_teacher": "teacher",
    "open_video": "jitnet_tf.video:open_source",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    """Imports a public name on first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'jitnet_tf' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    globals()[name] = getattr(importlib.import_module(module), attribute or name)
    return globals()[name]


def __dir__():
    """Lists the public names."""
    return sorted({*globals(), *_PUBLIC})
