"""JITNet in PyTorch, as in `jitnet_tf.student.jitnet`, and its loss.

Layers have the same names as there, so that weights are found by name. A batch is one frame: the
statistics of the batch are those of the frame.
"""

import torch
from torch import nn

from experiments.speed.peers import LOGITS_FIRST, REFERENCE
from jitnet_tf.student.layers import EPSILON, INPUT_MEAN, INPUT_SCALE, MOVING_DECAY
from jitnet_tf.student.weights import PREFIX

# Ways to normalize by a frame's statistics: PyTorch's two kernels, or "plain" operations.
BATCH, INSTANCE = "batch", "instance"

NAMES = {  # a weight's name in Keras → in PyTorch
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


class FrameNormalization(nn.Module):
    """Normalizes by the frame's own statistics; see `jitnet_tf.student.layers.FrameNormalization`.

    Args:
      channels: of the input.
      kernel: BATCH, INSTANCE or "plain" operations; they give the same, but runtimes differ in
        speed.
    """

    def __init__(self, channels, kernel):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.kernel = kernel

    def forward(self, x):
        """Maps float [1, C, H, W] to the same shape."""
        if self.kernel == INSTANCE:
            return nn.functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=EPSILON)
        if self.kernel == BATCH:
            return nn.functional.batch_norm(
                x, None, None, self.weight, self.bias, training=True, eps=EPSILON
            )
        mean = x.mean((2, 3), keepdim=True)
        variance = (x - mean).square().mean((2, 3), keepdim=True)
        scale = self.weight[:, None, None] * torch.rsqrt(variance + EPSILON)
        return x * scale + (self.bias[:, None, None] - mean * scale)


class JITNet(nn.Module):
    """The student, with the options of `jitnet_tf.student.jitnet.build_jitnet`.

    Args:
      graph: a name of `peers.GRAPHS`; all compute the same.
      kernel: see `FrameNormalization`.
    """

    def __init__(
        self,
        num_classes,
        *,
        width=0.5,
        units=1,
        skip=True,
        normalization="frame",
        graph=REFERENCE,
        kernel=BATCH,
    ):
        super().__init__()
        self.layers = nn.ModuleDict()
        self.units, self.skip, self.graph = units, skip, graph
        floor = 8 if num_classes <= 8 else 16 if num_classes <= 16 else 32

        def depth(channels, least=8):
            return max(int(channels * width), least)

        def normalize(channels, name):
            if normalization == "frame":
                layer = FrameNormalization(channels, kernel)
            else:
                layer = nn.BatchNorm2d(channels, eps=EPSILON, momentum=1 - MOVING_DECAY)
            self.layers[f"{name}_norm"] = layer

        def conv(inputs, filters, kernel, name, stride=1, bias=True):
            padding = tuple(side // 2 for side in kernel)
            self.layers[name] = nn.Conv2d(inputs, filters, kernel, stride, padding, bias=bias)
            return filters

        def conv3x3(inputs, filters, name, stride=1):
            conv(inputs, filters, (3, 3), name, stride, bias=False)
            normalize(filters, name)
            return filters

        def unit(inputs, filters, stride, name):
            normalize(inputs, f"{name}_preact")
            if inputs != filters:
                conv(inputs, filters, (1, 1), f"{name}_shortcut", stride)
            conv3x3(inputs, filters, f"{name}_3x3", stride)
            conv(filters, filters, (1, 3), f"{name}_1x3")
            return conv(filters, filters, (3, 1), f"{name}_3x1")

        def block(inputs, filters, name, stride=1):
            for i in range(units):
                inputs = unit(inputs, filters, stride if i == 0 else 1, f"{name}_unit{i + 1}")
            return inputs

        def join(inputs, encoded):
            return inputs + encoded if skip else inputs

        stride2 = conv3x3(3, depth(16), "stem1", 2)
        stride4 = conv3x3(stride2, depth(64), "stem2", 2)
        stride8 = block(stride4, depth(128), "encoder1", 2)
        stride16 = block(stride8, depth(128), "encoder2", 2)
        stride32 = block(stride16, depth(256), "encoder3", 2)
        x = block(stride32, depth(256, floor), "decoder1")
        x = block(join(x, stride16), depth(128, floor), "decoder2")
        x = block(join(x, stride8), depth(64, floor), "decoder3")
        x = conv3x3(x, depth(64, floor), "head1")
        x = conv3x3(x, depth(16, floor), "head2")
        conv(x, num_classes, (1, 1), "logits")

    def _normalize_relu(self, x, name):
        return nn.functional.relu(self.layers[f"{name}_norm"](x))

    def _conv3x3(self, x, name):
        return self._normalize_relu(self.layers[name](x), name)

    def _unit(self, x, stride, name):
        preact = self._normalize_relu(x, f"{name}_preact")
        if f"{name}_shortcut" in self.layers:
            shortcut = self.layers[f"{name}_shortcut"](preact)
        else:
            shortcut = x[:, :, ::stride, ::stride]
        residual = self._conv3x3(preact, f"{name}_3x3")
        residual = self.layers[f"{name}_1x3"](residual)
        return shortcut + self.layers[f"{name}_3x1"](residual)

    def _block(self, x, name, stride=1):
        for i in range(self.units):
            x = self._unit(x, stride if i == 0 else 1, f"{name}_unit{i + 1}")
        return x

    def _join(self, x, encoded):
        x = _resize(x, encoded.shape[2:])
        return torch.cat([encoded, x], 1) if self.skip else x

    def forward(self, frames):
        """Maps uint8 RGB [1, H, W, 3] to float32 logits [1, C, H, W]."""
        size = frames.shape[1:3]
        x = (frames.permute(0, 3, 1, 2).to(torch.float32) - INPUT_MEAN) / INPUT_SCALE
        stride2 = self._conv3x3(x, "stem1")
        stride4 = self._conv3x3(stride2, "stem2")
        stride8 = self._block(stride4, "encoder1", 2)
        stride16 = self._block(stride8, "encoder2", 2)
        x = self._block(stride16, "encoder3", 2)
        x = self._block(x, "decoder1")
        x = self._block(self._join(x, stride16), "decoder2")
        x = self._block(self._join(x, stride8), "decoder3")
        x = _resize(_resize(x, stride4.shape[2:]), stride2.shape[2:])
        x = self._conv3x3(self._conv3x3(x, "head1"), "head2")
        if self.graph == LOGITS_FIRST:
            return _resize(self.layers["logits"](x), size).float()
        return self.layers["logits"](_resize(x, size)).float()


class Classes(nn.Module):
    """The network with argmax, as it is exported.

    Args:
      network: a JITNet.
    """

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, frames):
        """Maps uint8 RGB [1, H, W, 3] to class ids uint8 [1, H, W]."""
        return self.network(frames).argmax(1).to(torch.uint8)


def _resize(x, size):
    return nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=True)


def named(network):
    """Returns the weights of a JITNet by their names in PyTorch: {'LAYER.WEIGHT': tensor}."""
    return {
        name: tensor
        for name, tensor in network.layers.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def converted(arrays):
    """Converts our student's weights (`jitnet_tf.student.weights.arrays`) to those of `named`."""
    tensors = {}
    for name, array in arrays.items():
        layer, weight = name.removeprefix(PREFIX).rsplit("/", 1)
        if weight == "kernel":
            array = array.transpose(3, 2, 0, 1)  # HWIO → OIHW
        tensors[f"{layer}.{NAMES[weight]}"] = torch.tensor(array)
    return tensors


def load(network, arrays):
    """Sets the weights of a JITNet from those of our student; see `converted`.

    Raises:
      KeyError: a weight is missing on one side.
      ValueError: a shape differs.
    """
    wanted, found = named(network), converted(arrays)
    if different := sorted(wanted.keys() ^ found.keys()):
        raise KeyError(f"{different[0]} and {len(different) - 1} more are only on one side")
    for name, tensor in wanted.items():
        if tensor.shape != found[name].shape:
            raise ValueError(f"{name}: {tuple(found[name].shape)}, not {tuple(tensor.shape)}")
        tensor.copy_(found[name])


def loss(logits, labels, weights):
    """Computes `jitnet_tf.student.loss.weighted_cross_entropy`.

    logits: float32 [1, C, H, W]; labels: uint8 [1, H, W]; weights: float32 [1, H, W].
    """
    return (nn.functional.cross_entropy(logits, labels.long(), reduction="none") * weights).mean()
