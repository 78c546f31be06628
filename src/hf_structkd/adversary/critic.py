"""The network of the holistic term, which scores how much a map looks like the teacher's."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .spectral_norm import SpectralNorm

SMALLEST_MAP = 8


class Critic(nn.Module):
    """Five convolutions, and two self-attention blocks between the last three, with one unbounded score.

    The image is resized to the map and concatenated with it. Four convolutions of stride 2 follow, and then
    one to a single channel, whose mean is the score. There is no normalisation across samples, no dropout and
    no sigmoid. The critic computes in float32 with autocast off, and can be differentiated twice, as the
    gradient penalty needs.

    Spectral normalisation divides every weight by its largest singular value, which power iteration
    estimates. Forward changes no buffer; call :meth:`update_spectral_norms` once per optimizer step.

    Attention compares all cells at 1/8 and 1/16 of the map's size. Its matrices grow with the square of the
    map's area: per sample, they take 256 KiB and 16 KiB for a 128x128 map, and 64 MiB and 4 MiB for 512x512,
    a few times over while the critic is differentiated twice.

    Args:
        map_channels: The channels of the maps (classes for a score map, 1 for depth).
        image_channels: The channels of the images; with 0 the critic sees the map alone.
        widths: The channels after each of the first four convolutions.
        spectral_norm: Whether to normalise the weights of every convolution.

    Raises:
        ValueError: If a channel count is out of range or there are not four widths.

    Example:
        >>> critic = Critic(map_channels=19, widths=(8, 8, 16, 16)).eval()
        >>> critic(torch.rand(2, 19, 32, 64), torch.rand(2, 3, 128, 256)).shape
        torch.Size([2])

    References:
        Liu et al., Structured Knowledge Distillation for Dense Prediction, TPAMI 2020, arXiv:1903.04197.
        Zhang et al., Self-Attention Generative Adversarial Networks, 2019, arXiv:1805.08318 (attention).
        Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018, arXiv:1802.05957.
    """

    def __init__(
        self,
        map_channels: int,
        image_channels: int = 3,
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        spectral_norm: bool = True,
    ) -> None:
        """Build the layers with fresh weights."""
        super().__init__()
        _check_settings(map_channels, image_channels, widths)
        self.map_channels = map_channels
        self.image_channels = image_channels
        # The fourth kernel is 3, because a map of 8x8 has only one cell there, too small for a kernel of 4.
        kernels = (4, 4, 4, 3)
        channels = itertools.pairwise((map_channels + image_channels, *widths))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride=2, padding=1)
            for (before, after), kernel in zip(channels, kernels, strict=True)
        )
        self.attentions = nn.ModuleList([_SelfAttention(widths[2]), _SelfAttention(widths[3])])
        self.score = nn.Conv2d(widths[3], 1, kernel_size=3, padding=1)
        if spectral_norm:
            # The list is complete first, because a parametrization changes the tree of modules.
            for module in [module for module in self.modules() if isinstance(module, nn.Conv2d)]:
                parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight))

    def forward(self, maps: Tensor, images: Tensor | None = None) -> Tensor:
        """Score each map.

        Args:
            maps: Score maps or depth maps.
            images: The images of the maps, of any size; they get no gradient. None if ``image_channels`` is
                0.

        Shape:
            maps: (B, map_channels, h, w), h and w >= 8. images: (B, image_channels, H, W). Returns: (B,).

        Returns:
            Unbounded float32 scores; a higher score means "more like the teacher".

        Raises:
            ValueError: If a shape does not fit the settings, or images are missing or unexpected.
        """
        self._check_inputs(maps, images)
        with torch.autocast(maps.device.type, enabled=False):
            hidden = maps.float()
            if images is not None:
                hidden = torch.cat([hidden, resize_images(images, hidden)], dim=1)
            for index, convolution in enumerate(self.convolutions):
                hidden = F.leaky_relu(convolution(hidden), 0.1)
                if index >= 2:
                    hidden = self.attentions[index - 2](hidden)
            scores: Tensor = self.score(hidden).mean(dim=(1, 2, 3))
            return scores

    @torch.no_grad()
    def update_spectral_norms(self) -> None:
        """Run one power iteration on every normalised weight."""
        module: Any
        for module in self.modules():
            if parametrize.is_parametrized(module, "weight"):
                weights = module.parametrizations["weight"]
                weights[0].advance(weights.original)

    def _check_inputs(self, maps: Tensor, images: Tensor | None) -> None:
        if maps.ndim != 4 or maps.shape[1] != self.map_channels:
            raise ValueError(
                f"`maps` must have shape (B, {self.map_channels}, h, w), got {tuple(maps.shape)}; "
                "build the critic with the `map_channels` of your maps."
            )
        if min(maps.shape[2:]) < SMALLEST_MAP:
            raise ValueError(
                f"`maps` must be at least {SMALLEST_MAP} high and wide, got {maps.shape[2]}x"
                f"{maps.shape[3]}; enlarge the image or resize the map."
            )
        if (images is None) != (self.image_channels == 0):
            found = "none" if images is None else f"shape {tuple(images.shape)}"
            raise ValueError(
                f"`images` must be given exactly if `image_channels` is not 0, got {found} with "
                f"image_channels={self.image_channels}; pass the images or build the critic without them."
            )
        if images is not None and (
            images.ndim != 4 or tuple(images.shape[:2]) != (maps.shape[0], self.image_channels)
        ):
            raise ValueError(
                f"`images` must have shape ({maps.shape[0]}, {self.image_channels}, H, W) to go with `maps`, "
                f"got {tuple(images.shape)}; pass the images the maps were computed from."
            )


def resize_images(images: Tensor, maps: Tensor) -> Tensor:
    """Return images in float32, without gradient, at the size of the maps; an average where they shrink."""
    images, size = images.detach().float(), maps.shape[2:]
    if images.shape[2:] == size:
        return images
    return F.interpolate(images, size=size, mode="bilinear", antialias=True)


class _SelfAttention(nn.Module):
    """Add to each cell a mix of all cells, weighted by learned similarity, with a factor that starts at 0.

    The block uses plain matrix products, because fused attention cannot be differentiated twice.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.query = nn.Conv2d(channels, inner, kernel_size=1)
        self.key = nn.Conv2d(channels, inner, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, hidden: Tensor) -> Tensor:
        query, key, value = (layer(hidden).flatten(2) for layer in (self.query, self.key, self.value))
        attention = (query.mT @ key).softmax(dim=2)
        mixed: Tensor = (value @ attention.mT).reshape(hidden.shape)
        return hidden + self.gate * mixed


def _check_settings(map_channels: int, image_channels: int, widths: Sequence[int]) -> None:
    if map_channels < 1:
        raise ValueError(f"`map_channels` must be at least 1, got {map_channels}; use the number of classes.")
    if image_channels < 0:
        raise ValueError(f"`image_channels` must not be negative, got {image_channels}; use 0 for no image.")
    if len(widths) != 4 or min(widths) < 1:
        raise ValueError(
            f"`widths` must hold four channel counts of at least 1, got {tuple(widths)}; "
            "give one for each of the first four convolutions."
        )
