"""Properties of all network architectures."""

import numpy as np
import pytest
import tensorflow as tf

from tests.student.networks import frames, jitnet, mobilenetv2

networks = pytest.mark.parametrize("network", [jitnet, mobilenetv2])


@networks
@pytest.mark.parametrize("size", [(61, 83), (33, 47), (64, 96), (31, 1), (1, 1), (7, 150)])
def test_logits_have_exactly_the_frames_size(network, size):
    logits = network()(frames(1, *size))
    assert (logits.shape, logits.dtype) == ((1, *size, 5), tf.float32)
    assert np.isfinite(logits).all()


@networks
def test_a_known_size_changes_only_shapes(network):
    free, known = network(), network(frame_size=(61, 83))
    known.set_weights(free.get_weights())
    assert tuple(known.output.shape[1:]) == (61, 83, 5)
    picture = frames(1, 61, 83)
    tolerance = 1e-5 if network is jitnet else 1e-3
    np.testing.assert_allclose(known(picture), free(picture), atol=tolerance)
    traced = tf.function(free, input_signature=[tf.TensorSpec((1, None, None, 3), tf.uint8)])
    np.testing.assert_allclose(traced(picture), free(picture), atol=10 * tolerance)


@networks
def test_frames_of_a_batch_are_independent(network):
    model, batch = network(), frames(3, 61, 83)
    batch[1] //= 4  # a dark one among them
    together = model(batch).numpy()
    alone = np.concatenate([model(batch[i : i + 1]) for i in range(3)])
    tolerance = 2e-3 if network is jitnet else 5e-3
    np.testing.assert_allclose(together, alone, atol=tolerance * np.abs(alone).max())
    if network is jitnet:
        assert (together.argmax(-1) == alone.argmax(-1)).mean() > 0.999


@networks
@pytest.mark.parametrize("size", [(None, None), (61, 83)])
def test_scaled_input(network, size):
    """Logits have the frames' own size; weights are unchanged; half size is the mean of 2 × 2."""
    model = network(input_scale=0.5, frame_size=size)
    assert model(frames(1, 61, 83)).shape == (1, 61, 83, 5)
    assert [w.shape for w in model.weights] == [w.shape for w in network().weights]
    even = frames(1, 64, 96).astype(np.float32)
    means = even.reshape(1, 32, 2, 48, 2, 3).mean((2, 4))
    np.testing.assert_allclose(model.get_layer("input_scaling")(even), means, rtol=1e-5)


@networks
def test_unknown_normalization_is_refused(network):
    with pytest.raises(ValueError, match="'batch', not one of"):
        network(normalization="batch")
