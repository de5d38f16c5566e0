"""ResNets for 32x32 images (He et al., CVPR 2016, arXiv 1512.03385).

A 3x3 stem of stride 1 and no max-pool, four stages of strides 1, 2, 2, 2.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from aljax.models.conv.fused import layer
from aljax.models.conv.pending import Pending, folded, scored
from aljax.models.initial import fan_in_uniform
from aljax.models.norm import MOMENTUM, normalisation, over_devices


class Features(NamedTuple):
    """What a network makes of a batch: everything that losses and strategies read.

    Without stages there is no loss prediction module, without an embedding no strategy
    that needs one.
    """

    logits: jax.Array  # [B, K] float32
    stages: tuple[jax.Array, ...] = ()  # of [B, h, w, c], from first to last
    embedding: jax.Array | None = None  # [B, D] float32


class Linear(nn.Module):
    """A linear layer with PyTorch's initialisation of weights and bias."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        fan_in = x.shape[-1]
        kernel = self.param("kernel", fan_in_uniform, (fan_in, self.features))
        bias = self.param("bias", fan_in_uniform, (self.features,), fan_in)
        x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
        # Small, and what a strategy ranks by: float32 is no TF32 here on a GPU.
        return jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST) + bias


class ConvNorm(nn.Module):
    """A convolution and its batch normalisation, which is left to whoever reads it."""

    features: int
    size: int
    stride: int = 1
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        x: Pending | jax.Array,
        mask: jax.Array | None,
        train: bool,
        keep: bool = False,
    ) -> tuple[Pending, jax.Array | None]:
        f = self.features
        channels = (x.y if isinstance(x, Pending) else x).shape[-1]
        kernel = self.param(
            "kernel", fan_in_uniform, (self.size, self.size, channels, f)
        )
        scale = self.param("scale", nn.initializers.ones, (f,))
        bias = self.param("bias", nn.initializers.zeros, (f,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (f,))
        variance = self.variable("batch_stats", "var", jnp.ones, (f,))
        if not train:
            norm = normalisation(mean.value, variance.value, scale, bias)
            kernel, norm = folded(kernel, norm)
            out = layer(x, kernel, None, self.stride, keep)
            return Pending(out.y, norm), out.x
        out = layer(x, kernel, mask, self.stride, keep)
        seen = over_devices(out.moments, self.axis_name)
        if not self.is_initializing():
            mean.value += MOMENTUM * (seen.mean - mean.value)
            variance.value += MOMENTUM * (seen.unbiased() - variance.value)
        norm = normalisation(seen.mean, seen.variance(), scale, bias)
        return Pending(out.y, norm), out.x


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    planes: int
    stride: int
    axis_name: str | None
    expansion = 1

    @nn.compact
    def __call__(
        self, x: Pending, mask: jax.Array | None, train: bool
    ) -> tuple[Pending, jax.Array]:
        """Returns the block's result and the images `[B, H, W, C]` it was given."""
        unit = partial(ConvNorm, axis_name=self.axis_name)
        first = unit(self.planes, 3, self.stride, name="conv1")
        y, x = first(x, mask, train, keep=True)
        y, _ = unit(self.planes, 3, name="conv2")(y, mask, train)
        if self.stride == 1 and x.shape[-1] == self.planes:
            return y._replace(rest=x), x
        shortcut = unit(self.planes, 1, self.stride, name="shortcut")
        rest, _ = shortcut(x, mask, train)
        return y._replace(rest=rest.y, rest_norm=rest.norm), x


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries the stride), 1x1 to four times the planes; shortcut."""

    planes: int
    stride: int
    axis_name: str | None
    expansion = 4

    @nn.compact
    def __call__(
        self, x: Pending, mask: jax.Array | None, train: bool
    ) -> tuple[Pending, jax.Array]:
        """Returns the block's result and the images `[B, H, W, C]` it was given."""
        unit = partial(ConvNorm, axis_name=self.axis_name)
        wide = self.planes * self.expansion
        y, x = unit(self.planes, 1, name="conv1")(x, mask, train, keep=True)
        y, _ = unit(self.planes, 3, self.stride, name="conv2")(y, mask, train)
        y, _ = unit(wide, 1, name="conv3")(y, mask, train)
        if self.stride == 1 and x.shape[-1] == wide:
            return y._replace(rest=x), x
        rest, _ = unit(wide, 1, self.stride, name="shortcut")(x, mask, train)
        return y._replace(rest=rest.y, rest_norm=rest.norm), x


class ResNet(nn.Module):
    """A residual network that shows its inside.

    Attributes:
        block: BasicBlock or Bottleneck.
        blocks: number of blocks in each of the four stages.
        classes: K, the number of logits.
        width: channels of the stem and of the first stage's planes.
        dtype: dtype of the arithmetic; weights and statistics stay float32.
        axis_name: devices that share batch statistics, or None.
        dropout: a layer before the last one, or None.
    """

    block: type[nn.Module]
    blocks: Sequence[int]
    classes: int
    width: int = 64
    dtype: Any = jnp.float32
    axis_name: str | None = None
    dropout: nn.Module | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, mask: jax.Array | None = None, train: bool = False
    ) -> Features:
        """Maps normalised images to logits, stage outputs and embedding.

        Args:
            x: `[B, H, W, C]`, H and W multiples of 8.
            mask: `[B]`, 1 for a real row, 0 for padding; needed when training.
            train: normalise by the batch and update the running statistics.
        """
        stem = ConvNorm(self.width, 3, axis_name=self.axis_name, name="stem")
        x, _ = stem(x.astype(self.dtype), mask, train)
        stages = []
        for i, count in enumerate(self.blocks):
            for j in range(count):
                block = self.block(
                    self.width * 2**i,
                    2 if i > 0 and j == 0 else 1,
                    self.axis_name,
                    name=f"stage{i + 1}_block{j + 1}",
                )
                x, given = block(x, mask, train)
                if i > 0 and j == 0:
                    stages.append(given)
        x = x.value() if train else scored(x)
        stages.append(x)
        embedding = x.astype(jnp.float32).mean((1, 2))
        seen = embedding if self.dropout is None else self.dropout(embedding)
        logits = Linear(self.classes, name="head")(seen)
        return Features(logits, tuple(stages), embedding)
