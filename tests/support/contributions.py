"""How large the terms are whose sum a gradient is: a fair scale for its rounding.

A gradient sums one term for each row and place of a batch. Where the terms cancel, the
sum is small and its rounding is not: no float32 program can keep it below a share of
the sum of the terms' absolute values, and a correct one keeps it there however much
they cancel. (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 4.2:
|error| <= n·u·sum |terms|, to first order.)
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

SUMS = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)


@contextmanager
def contributions(*nets: nn.Module) -> Iterator[dict[torch.Tensor, torch.Tensor]]:
    """Watches one forward and one backward pass of `nets` for {weight: sum |terms|}."""
    found: dict[torch.Tensor, torch.Tensor] = {}

    def forward(layer, inputs, output):
        x = inputs[0].detach()
        if output.requires_grad:
            output.register_hook(lambda g: found.update(_terms(layer, x, g.detach())))

    layers = [m for net in nets for m in net.modules() if isinstance(m, SUMS)]
    hooks = [layer.register_forward_hook(forward) for layer in layers]
    yield found
    for hook in hooks:
        hook.remove()


def _terms(layer, x, g) -> dict[torch.Tensor, torch.Tensor]:
    """Sums of absolute terms of a layer's gradients, of its input and what it gets."""
    if isinstance(layer, nn.Conv2d):
        weight, how = layer.weight, (layer.stride, layer.padding)
        return {weight: nn.grad.conv2d_weight(x.abs(), weight.shape, g.abs(), *how)}
    if isinstance(layer, nn.Linear):
        return {layer.weight: g.abs().T @ x.abs(), layer.bias: g.abs().sum(0)}
    places = (0, 2, 3)
    variance, mean = torch.var_mean(x, places, unbiased=False, keepdim=True)
    normal = (x - mean) / (variance + layer.eps).sqrt()
    return {
        layer.weight: (g * normal).abs().sum(places),
        layer.bias: g.abs().sum(places),
    }
