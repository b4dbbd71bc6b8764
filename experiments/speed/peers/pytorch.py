"""PyTorch: eager or compiled, in both memory formats, with both forms of the graph.

bfloat16 is autocast's: weights, statistics, logits and loss are float32, as ours are.
"""

import functools

from experiments.speed import peers
from experiments.speed.peers import Steps, Variant

PACKAGES = ("torch",)
CHANNELS_FIRST, CHANNELS_LAST = "channels first", "channels last"
LEARNING_RATE, MOMENTUM = 0.01, 0.9  # the product's defaults


def variants(peer, network, precision):
    """Returns the Variants of a peer and precision."""
    return [
        Variant(
            peer,
            f"{graph}, {memory_format}",
            functools.partial(
                build, network, precision, graph, memory_format, peer == "pytorch compiled"
            ),
        )
        for memory_format in (CHANNELS_FIRST, CHANNELS_LAST)
        for graph in peers.GRAPHS
    ]


def make_network(network, **options):
    """Returns the JITNet of a `peers.Network`, with its weights; options: further options."""
    from experiments.speed.peers import torch_network

    made = torch_network.JITNet(
        network.num_classes,
        width=network.width,
        normalization=network.normalization,
        **options,
    )
    torch_network.load(made, network.arrays)
    return made


def exported_forms(network):
    """Returns forms of the JITNet to export, (name, options) each; runtimes differ in speed.

    Exporters have no batch normalization by a frame's own statistics.
    """
    kernels = ("instance", "plain") if network.normalization == "frame" else ("batch",)
    return [
        (f"{graph}, {kernel} normalization", {"graph": graph, "kernel": kernel})
        for kernel in kernels
        for graph in peers.GRAPHS
    ]


def make_classes(network, options):
    """Returns the module to export: uint8 RGB [1, H, W, 3] → class ids uint8 [1, H, W]."""
    from experiments.speed.peers import torch_network

    return torch_network.Classes(make_network(network, **options)).eval()


def build(network, precision, graph, memory_format, compiled):
    """Returns the Steps of a variant."""
    import torch

    from experiments.speed.peers import torch_network

    model = make_network(network, graph=graph)
    if memory_format == CHANNELS_LAST:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=MOMENTUM)
    autocast = functools.partial(
        torch.autocast, "cpu", torch.bfloat16, enabled=precision == peers.BFLOAT16
    )

    def classes(frames):
        with autocast():
            return model(frames).argmax(1).to(torch.uint8)

    def loss(frames, labels, weights):
        with autocast():
            logits = model(frames)
        return torch_network.loss(logits, labels, weights)

    if compiled:
        classes, loss = (torch.compile(step, dynamic=False) for step in (classes, loss))

    def infer(frame):
        model.eval()
        with torch.inference_mode():
            return classes(torch.from_numpy(frame)[None])[0].numpy()

    def update(frame, labels, weights):
        model.train()
        optimizer.zero_grad()
        value = loss(*(torch.from_numpy(array)[None] for array in (frame, labels, weights)))
        value.backward()
        optimizer.step()
        return value.item()

    return Steps(infer, update)
