"""Our network as a TensorFlow function, for converters to other runtimes."""

import tensorflow as tf

from experiments.speed.peers import FLOAT32, LOGITS_FIRST
from experiments.speed.peers.ours import make_student
from jitnet_tf.student.architectures import half_resolution


def classes_function(network, graph):
    """Returns a tf.function and its model: frame uint8 [1, H, W, 3] → {"classes": uint8 [1, H, W]}.

    network: a `peers.Network`. graph: a name of `peers.GRAPHS`.
    """
    model = make_student(network, FLOAT32).model
    half_size = half_resolution(model)

    @tf.function(input_signature=[tf.TensorSpec((1, *network.frame_size, 3), tf.uint8, "frame")])
    def classes(frame):
        if graph == LOGITS_FIRST:
            logits = tf.raw_ops.ResizeBilinear(
                images=half_size(frame, training=False),
                size=network.frame_size,
                align_corners=True,
            )
        else:
            logits = model(frame, training=False)
        ids = tf.argmax(logits, axis=-1, output_type=tf.int32)
        return {"classes": tf.cast(ids, tf.uint8)}

    return classes, model
