"""ResNets for 32x32 images (He et al., CVPR 2016, arXiv 1512.03385).

A 3x3 stem of stride 1 and no max-pool, four stages of strides 1, 2, 2, 2.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from aljax.models.conv import conv
from aljax.models.initial import fan_in_uniform
from aljax.models.norm import MOMENTUM, batch_norm, fold


class Features(NamedTuple):
    """What a network makes of a batch: everything that losses and strategies read."""

    logits: jax.Array  # [B, K] float32
    stages: tuple[jax.Array, ...]  # four of [B, h, w, c]
    embedding: jax.Array  # [B, D] float32


class Linear(nn.Module):
    """A linear layer with PyTorch's initialisation of weights and bias."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        fan_in = x.shape[-1]
        kernel = self.param("kernel", fan_in_uniform, (fan_in, self.features))
        bias = self.param("bias", fan_in_uniform, (self.features,), fan_in)
        return x.astype(self.dtype) @ kernel.astype(self.dtype) + bias.astype(
            self.dtype
        )


class ConvNorm(nn.Module):
    """A convolution and its batch normalisation, which scoring folds into one."""

    features: int
    size: int
    stride: int = 1
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, train: bool) -> jax.Array:
        f = self.features
        kernel = self.param(
            "kernel", fan_in_uniform, (self.size, self.size, x.shape[-1], f)
        )
        scale = self.param("scale", nn.initializers.ones, (f,))
        bias = self.param("bias", nn.initializers.zeros, (f,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (f,))
        variance = self.variable("batch_stats", "var", jnp.ones, (f,))
        if not train:
            kernel, offset = fold(kernel, scale, bias, mean.value, variance.value)
            y = conv(x, kernel.astype(self.dtype), self.stride)
            return y + offset.astype(self.dtype)
        y = conv(x, kernel.astype(self.dtype), self.stride)
        y, new_mean, new_variance = batch_norm(y, scale, bias, mask, self.axis_name)
        if not self.is_initializing():
            mean.value += MOMENTUM * (new_mean - mean.value)
            variance.value += MOMENTUM * (new_variance - variance.value)
        return y


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    planes: int
    stride: int
    dtype: Any
    axis_name: str | None
    expansion = 1

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, train: bool) -> jax.Array:
        def unit(features, size, stride, name):
            return ConvNorm(
                features, size, stride, self.dtype, self.axis_name, name=name
            )

        y = nn.relu(unit(self.planes, 3, self.stride, "conv1")(x, mask, train))
        y = unit(self.planes, 3, 1, "conv2")(y, mask, train)
        if self.stride != 1 or x.shape[-1] != self.planes:
            x = unit(self.planes, 1, self.stride, "shortcut")(x, mask, train)
        return nn.relu(y + x)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries the stride), 1x1 to four times the planes; shortcut."""

    planes: int
    stride: int
    dtype: Any
    axis_name: str | None
    expansion = 4

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, train: bool) -> jax.Array:
        def unit(features, size, stride, name):
            return ConvNorm(
                features, size, stride, self.dtype, self.axis_name, name=name
            )

        wide = self.planes * self.expansion
        y = nn.relu(unit(self.planes, 1, 1, "conv1")(x, mask, train))
        y = nn.relu(unit(self.planes, 3, self.stride, "conv2")(y, mask, train))
        y = unit(wide, 1, 1, "conv3")(y, mask, train)
        if self.stride != 1 or x.shape[-1] != wide:
            x = unit(wide, 1, self.stride, "shortcut")(x, mask, train)
        return nn.relu(y + x)


class ResNet(nn.Module):
    """A residual network that shows its inside.

    Attributes:
        block: BasicBlock or Bottleneck.
        blocks: number of blocks in each of the four stages.
        classes: K, the number of logits.
        width: channels of the stem and of the first stage's planes.
        dtype: dtype of the arithmetic; weights and statistics stay float32.
        axis_name: devices that share batch statistics, or None.
    """

    block: type[nn.Module]
    blocks: Sequence[int]
    classes: int
    width: int = 64
    dtype: Any = jnp.float32
    axis_name: str | None = None

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
        stem = ConvNorm(self.width, 3, 1, self.dtype, self.axis_name, name="stem")
        x = nn.relu(stem(x.astype(self.dtype), mask, train))
        stages = []
        for i, count in enumerate(self.blocks):
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                name = f"stage{i + 1}_block{j + 1}"
                x = self.block(
                    self.width * 2**i, stride, self.dtype, self.axis_name, name=name
                )(x, mask, train)
            stages.append(x)
        embedding = x.astype(jnp.float32).mean((1, 2))
        logits = Linear(self.classes, name="head")(embedding)
        return Features(logits, tuple(stages), embedding)
