"""Configurations: every option of a run or a pretraining, once. Plain values, no TensorFlow."""

from jitnet_tf.config.base import Config
from jitnet_tf.config.fleet import FleetConfig
from jitnet_tf.config.pretrain import PretrainConfig
from jitnet_tf.config.run import RunConfig
from jitnet_tf.config.student import StudentConfig

__all__ = ["Config", "FleetConfig", "PretrainConfig", "RunConfig", "StudentConfig"]
