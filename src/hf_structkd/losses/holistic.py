"""The holistic term: a critic compares whole maps, and the student tries to look like the teacher.

One sign convention holds for all functions here and for every critic: the teacher's map is "real", the
student's map is "fake", and a higher score means "more like the teacher". The critic minimises
:func:`critic_loss` (plus the weighted :func:`gradient_penalty` for ``"wgan-gp"``), which raises real scores
and lowers fake scores. The student minimises :func:`adversarial_loss`, which raises fake scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from ._common import autocast_off, check_pair, full_precision

CriticLossKind = Literal["wgan-gp", "hinge"]

# The floor is below the square of any important norm, and large enough that 1 / sqrt(x) stays finite.
_SQUARED_NORM_FLOOR = 1e-12


def critic_loss(real_scores: Tensor, fake_scores: Tensor, *, kind: CriticLossKind) -> Tensor:
    r"""Return the loss that the critic minimises, without the gradient penalty.

    .. math::
        \text{wgan-gp:}\quad & E[D(fake)] - E[D(real)] \\
        \text{hinge:}\quad & E[\max(0, 1 - D(real))] + E[\max(0, 1 + D(fake))]

    The paper uses the first; the caller adds its penalty, :func:`gradient_penalty`, with a separate weight.
    Detach both maps before they are scored, so that the critic's step trains the critic alone.

    Args:
        real_scores: The unbounded scores of the teacher's maps.
        fake_scores: The unbounded scores of the student's maps.
        kind: ``"wgan-gp"`` or ``"hinge"``.

    Shape:
        real_scores, fake_scores: (B,); the two may differ in B. Returns: ().

    Returns:
        The loss as a float32 scalar.

    Raises:
        ValueError: If the kind is unknown or scores are not (B,).

    Example:
        >>> critic_loss(torch.tensor([2.0]), torch.tensor([-3.0]), kind="wgan-gp").item()
        -5.0

    References:
        Gulrajani et al., Improved Training of Wasserstein GANs, 2017, arXiv:1704.00028.
        Lim and Ye, Geometric GAN, 2017, arXiv:1705.02894 (hinge).
    """
    _check_kind(kind)
    _check_scores("real_scores", real_scores)
    _check_scores("fake_scores", fake_scores)
    real_scores, fake_scores = full_precision(real_scores), full_precision(fake_scores)
    if kind == "hinge":
        return (1 - real_scores).relu().mean() + (1 + fake_scores).relu().mean()
    return fake_scores.mean() - real_scores.mean()


def adversarial_loss(fake_scores: Tensor, *, kind: CriticLossKind) -> Tensor:
    r"""Return the loss that the student minimises, which is :math:`-E[D(fake)]` for both kinds.

    The paper subtracts the term from the total. Here the minus sign is in the loss, so that it is added like
    any other. Freeze the critic while the scores are computed; the gradient still reaches the student.

    Args:
        fake_scores: The unbounded scores of the student's maps, with their graph.
        kind: ``"wgan-gp"`` or ``"hinge"``, as for the critic.

    Shape:
        fake_scores: (B,). Returns: ().

    Returns:
        The loss as a float32 scalar.

    Raises:
        ValueError: If the kind is unknown or the scores are not (B,).

    Example:
        >>> adversarial_loss(torch.tensor([1.0, 3.0]), kind="hinge").item()
        -2.0
    """
    _check_kind(kind)
    _check_scores("fake_scores", fake_scores)
    return -full_precision(fake_scores).mean()


def gradient_penalty(
    critic: Callable[..., Tensor],
    real: Tensor,
    fake: Tensor,
    condition: Tensor | None = None,
    *,
    eps: Tensor | None = None,
) -> Tensor:
    r"""Return how far the critic's slope is from 1 between real and fake maps.

    .. math:: E\big[(\lVert \nabla_{\hat x} D(\hat x) \rVert_2 - 1)^2\big], \qquad
        \hat x = \epsilon \, real + (1 - \epsilon) \, fake, \quad \epsilon \sim U[0, 1]

    The norm of a sample is over all its axes, so that the critic must not mix samples (no BatchNorm). The
    penalty has a graph and trains the critic's parameters. It trains nothing else, because both maps are
    detached.

    Args:
        critic: A function that is called as ``critic(map, condition)``, or as ``critic(map)`` without a
            condition, and returns scores (B,). It must be differentiable twice (no fused attention, not
            compiled).
        real: The teacher's maps.
        fake: The student's maps.
        condition: A further input of the critic, such as the images; it is not interpolated.
        eps: The share of the real map in each sample's mixture, within [0, 1]; None draws it at random.

    Shape:
        real, fake: (B, K, h, w). condition: (B, ...). eps: (B,). Returns: ().

    Returns:
        The unweighted penalty as a scalar, at least 0.

    Raises:
        TypeError: If a map is not floating point.
        ValueError: If shapes or batch sizes do not fit.

    Example:
        >>> flat = torch.full((3,), 3**-0.5).reshape(1, 3, 1, 1)
        >>> unit_slope = lambda maps: (maps * flat).sum(dim=(1, 2, 3))
        >>> penalty = gradient_penalty(unit_slope, torch.randn(2, 3, 1, 1), torch.randn(2, 3, 1, 1))
        >>> round(penalty.item(), 6)
        0.0

    References:
        Gulrajani et al., Improved Training of Wasserstein GANs, 2017, arXiv:1704.00028, equation 3.
    """
    _check_penalty_inputs(real, fake, condition, eps)
    real, fake = full_precision(real.detach()), full_precision(fake.detach())
    dtype = torch.promote_types(real.dtype, fake.dtype)
    real, fake = real.to(dtype), fake.to(dtype)
    if eps is None:
        eps = torch.rand(real.shape[0], device=real.device, dtype=real.dtype)
    with autocast_off(real):
        mixed = torch.lerp(fake, real, eps.detach().to(real.dtype).reshape(-1, 1, 1, 1)).requires_grad_()
        scores = critic(mixed) if condition is None else critic(mixed, condition.detach())
        _check_scores("critic(map)", scores)
        (slope,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
        norm = (slope.flatten(start_dim=1).square().sum(dim=1) + _SQUARED_NORM_FLOOR).sqrt()
        return (norm - 1).square().mean()


def _check_kind(kind: str) -> None:
    if kind not in get_args(CriticLossKind):
        raise ValueError(
            f"`kind` must be one of {get_args(CriticLossKind)}, got {kind!r}; choose one of them."
        )


def _check_scores(name: str, scores: Tensor) -> None:
    if scores.ndim != 1 or scores.numel() == 0:
        raise ValueError(
            f"`{name}` must hold one score per sample, shape (B,), got {tuple(scores.shape)}; "
            "average patch scores over their map first."
        )


def _check_penalty_inputs(real: Tensor, fake: Tensor, condition: Tensor | None, eps: Tensor | None) -> None:
    check_pair("(B, C, h, w)", "resize one to the other", real=real, fake=fake)
    batch = real.shape[0]
    if condition is not None and (condition.ndim == 0 or condition.shape[0] != batch):
        raise ValueError(
            f"`condition` must hold one entry per map, got shape {tuple(condition.shape)} for {batch} maps; "
            "pass the images the maps were computed from."
        )
    if eps is not None and tuple(eps.shape) != (batch,):
        raise ValueError(
            f"`eps` must have shape (B,) = ({batch},), got {tuple(eps.shape)}; pass one number per sample."
        )
