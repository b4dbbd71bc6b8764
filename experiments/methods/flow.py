"""The flow baseline (paper §5.4): the latest labels of the teacher, moved by optical flow."""

import dataclasses

from experiments.methods.base import Method, TeacherSettings, setting
from jitnet_tf.distillation.outputs.flow import DIS, warp
from jitnet_tf.distillation.result import FrameResult, TeacherFrame
from jitnet_tf.distillation.segmenter import Segmenter
from jitnet_tf.distillation.stopwatch import Stopwatch

DIS_FLOW, _ = ESTIMATORS = ("dis", "pwcnet")


class FlowPropagation(Segmenter):
    """Asks the teacher on every `stride`-th frame and warps its labels to the frames between.

    It warps labels, not features, which is as effective (§5.4), and in one step from the teacher
    frame to each later one, as Deep Feature Flow does.

    Args:
      estimator: callable (frame, other) → flow: `DIS` or `pwcnet.PWCNet`.
      teacher, label_maker: see `Distiller`.
      stride: frames from one teacher frame to the next.
    """

    def __init__(self, estimator, teacher, label_maker, stride):
        self._estimator = estimator
        self._teacher = teacher
        self._label_maker = label_maker
        self._stride = stride
        self._key_frame = None
        self.index = 0

    def step(self, frame):
        """Segments the next frame, uint8 RGB [H, W, 3]; a teacher frame as the teacher does."""
        watch, teacher_frame = Stopwatch(), None
        if self.index % self._stride == 0:
            with watch("teacher"):
                detections = self._teacher(frame, self.index)
            with watch("labels"):
                prediction = self._label_maker.labels(detections, frame.shape[:2])
            self._key_frame = (frame, prediction)
            teacher_frame = TeacherFrame(self.index, frame, prediction, prediction)
        else:
            key_frame, key_labels = self._key_frame
            with watch("flow"):
                flow = self._estimator(frame, key_frame)
            with watch("warp"):
                prediction = warp(key_labels, flow)
        result = FrameResult(
            self.index, frame, prediction, self._stride, watch.seconds, teacher=teacher_frame
        )
        self.index += 1
        return result


@dataclasses.dataclass(frozen=True)
class FlowSettings(TeacherSettings):
    """Settings of any flow baseline."""

    flow: str = setting(DIS_FLOW, "Estimator of the flow rows.", choices=ESTIMATORS)


@dataclasses.dataclass(frozen=True)
class DenseFlowSettings(FlowSettings):
    """Settings of flow slow; see `pwcnet.load_weights`."""

    pwcnet_dense: str | None = setting(
        None, "Converted weights of PWC-Net, for flow slow.", is_path=True
    )


@dataclasses.dataclass(frozen=True)
class SmallFlowSettings(FlowSettings):
    """Settings of flow fast; see `pwcnet.load_weights`."""

    pwcnet_small: str | None = setting(
        None, "Converted weights of small PWC-Net, for flow fast.", is_path=True
    )


class Flow(Method):
    """FlowPropagation at a stride.

    Args:
      title: its heading.
      stride: frames between teacher frames (§5.4).
      dis_preset: see `DIS`.
      pwcnet_kind: see `pwcnet.KINDS`.
    """

    stages = ("flow", "warp")

    def __init__(self, title, stride, dis_preset, pwcnet_kind):
        super().__init__(title)
        self.settings_class = {"dense": DenseFlowSettings, "small": SmallFlowSettings}[pwcnet_kind]
        self.stride = stride
        self._dis_preset = dis_preset
        self._pwcnet_kind = pwcnet_kind

    def check(self, settings):
        """UserError also if the weights of the flow estimator are missing or do not fit."""
        super().check(settings)
        self._estimator(settings, (64, 64))

    def make(self, context):
        """Returns a FlowPropagation at the method's stride."""
        estimator = self._estimator(context.settings, context.frame_size)
        return FlowPropagation(estimator, context.teacher, context.label_maker, self.stride)

    def _estimator(self, settings, frame_size):
        if settings.flow == DIS_FLOW:
            return DIS(self._dis_preset)
        from experiments.methods.pwcnet import PWCNet  # imports TensorFlow

        kind = self._pwcnet_kind
        return PWCNet(kind, getattr(settings, f"pwcnet_{kind}"), frame_size)


class TeacherAlone(Method):
    """The teacher on every frame, and no student."""

    settings_class = TeacherSettings
    stages = ("labels",)
    has_speedup = False

    def make(self, context):
        """Returns a FlowPropagation at stride 1, which never estimates a flow."""
        return FlowPropagation(None, context.teacher, context.label_maker, 1)
