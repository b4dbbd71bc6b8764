"""Options of a run that others use while it goes on: exported students, metrics, a preview."""

import dataclasses

from jitnet_tf.base import durations
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.options import FREE, option
from jitnet_tf.config.names import SERVING


@dataclasses.dataclass(frozen=True)
class ServingOptions:
    """Options of a RunConfig about serving and watching it; a resumed run takes others."""

    export_every: float | None = option(
        None,
        "Time between exports of the student to --export_dir, as a SavedModel that TensorFlow "
        "Serving takes up; another follows at the run's end. Default: none.",
        SERVING,
        above=0,
        is_duration=True,
        resume=FREE,
    )
    export_dir: str | None = option(
        None,
        "Folder of the exports, which are its subfolders 1, 2, …; other files may not be there.",
        SERVING,
        is_output=True,
        resume=FREE,
    )
    export_keep: int = option(
        3, "Exports to keep; older ones are deleted.", SERVING, at_least=1, resume=FREE
    )
    export_tflite: bool = option(
        False,
        "Also export a TFLite model, as assets.extra/student.tflite in each export.",
        SERVING,
        resume=FREE,
    )
    metrics_port: int | None = option(
        None,
        "Port on which /metrics gives the run's figures to Prometheus; 0: a free one. Default: "
        "none.",
        SERVING,
        at_least=0,
        at_most=65535,
        resume=FREE,
    )
    preview_port: int | None = option(
        None,
        "Port of a page that shows the overlay live in a browser; 0: a free one. Default: none.",
        SERVING,
        at_least=0,
        at_most=65535,
        resume=FREE,
    )
    bind: str = option(
        "127.0.0.1",
        "Address of --metrics_port and --preview_port; 127.0.0.1: this machine alone, 0.0.0.0: "
        "anyone who reaches it, without a password.",
        SERVING,
        resume=FREE,
    )

    def _check_serving(self):
        """Checks what the values have to do with each other; UserError names the flags."""
        default = {field.name: field.default for field in dataclasses.fields(self)}
        if self.export_every and not self.export_dir:
            raise UserError(
                f"--export_every={durations.show(self.export_every)} needs a folder: give "
                "--export_dir"
            )
        for name in ("export_dir", "export_keep", "export_tflite"):
            if getattr(self, name) != default[name] and not self.export_every:
                raise UserError(
                    f"--{name}={getattr(self, name)} is for exports: give --export_every, too"
                )
        ports = self.metrics_port, self.preview_port
        if self.bind != default["bind"] and ports == (None, None):
            raise UserError(
                f"--bind={self.bind} is for --metrics_port and --preview_port: give one of them"
            )
        if ports[0] and ports[0] == ports[1]:
            raise UserError(
                f"--metrics_port={ports[0]} is also the --preview_port: give two different ones"
            )
