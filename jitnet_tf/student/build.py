"""Builds students from configurations."""

from jitnet_tf.student import initial_weights, weights
from jitnet_tf.student.architectures import build_network, updated_variables
from jitnet_tf.student.devices import make_repeatable, use_xla
from jitnet_tf.student.student import Student


def build_student(config, groups, frame_size, ignored=None):
    """Builds the student that a RunConfig describes, with its initial weights.

    groups: ClassGroups, the classes that it segments. frame_size: (H, W) of the frames. ignored:
    the region to ignore, bool [H, W]; None for none.

    Raises:
      UserError: the initial weights do not fit.
    """
    make_repeatable(config.seed)
    xla = use_xla(config.xla)
    model = build_network(len(groups.names), config.student, frame_size, xla)
    student = Student(
        model,
        frame_size,
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        optimizer=config.optimizer,
        variables=updated_variables(model, config.updated_layers),
        xla=xla,
        fused=config.xla != "off",
        ignored=ignored,
    )
    initial_weights.start(weights.named(model), config.init, groups, config.student)
    return student
