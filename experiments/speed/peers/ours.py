"""The product's own student, with its defaults."""

import dataclasses

from experiments.speed.peers import FLOAT32, Steps, Variant
from jitnet_tf.config import RunConfig, StudentConfig
from jitnet_tf.config.names import PRETRAINED, RANDOM
from jitnet_tf.labels import LVS, ClassGroups
from jitnet_tf.student import weights

PACKAGES = ()


def config_of(network, precision):
    """Returns the RunConfig of a `peers.Network`, with pretrained weights if they fit.

    Raises:
      UserError: there is no such student.
    """
    student = StudentConfig(
        width=network.width, normalization=network.normalization, precision=precision
    )
    fits = (
        network.num_classes == len(LVS) + 1
        and dataclasses.replace(student, precision=StudentConfig.precision) == StudentConfig()
    )
    init = PRETRAINED if fits else RANDOM
    return RunConfig(video="", teacher="", logdir="", init=init, student=student)


def make_student(network, precision):
    """Returns the product's Student of a `peers.Network`, with the weights in `arrays` if any."""
    from jitnet_tf.student.build import build_student

    groups = ClassGroups(LVS)
    if network.num_classes != len(groups.names):
        groups = ClassGroups({f"class {i}": () for i in range(1, network.num_classes)})
    made = build_student(config_of(network, precision), groups, network.frame_size)
    if network.arrays is not None:
        weights.assign(weights.named(made.model), network.arrays)
    return made


def initial_arrays(network):
    """Returns the weights that all peers start from, for `peers.Network.arrays`."""
    model = make_student(network, FLOAT32).model
    return weights.arrays(weights.named(model))


def variants(peer, network, precision):
    """Returns the Variants of a peer and precision."""

    def build():
        student = make_student(network, precision)
        return Steps(student.infer, student.update)

    return [Variant(peer, "default", build)]
