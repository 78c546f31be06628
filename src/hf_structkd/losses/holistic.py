"""The holistic term: a critic compares whole maps, and the student tries to look like the teacher.

The sign convention, for every function here and every critic used with them: the teacher's map is "real", the
student's map is "fake", and a higher score means "more like the teacher". The critic minimises
:func:`critic_loss` (plus the weighted :func:`gradient_penalty` for ``"wgan-gp"``), which pushes real scores
up and fake ones down; the student minimises :func:`adversarial_loss`, which pushes fake scores up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from ._common import autocast_off, check_map, full_precision

CriticLossKind = Literal["wgan-gp", "hinge"]

# Below the square of any gradient norm that matters, above what makes 1 / sqrt(x) overflow in float32.
_SQUARED_NORM_FLOOR = 1e-12


def critic_loss(real_scores: Tensor, fake_scores: Tensor, *, kind: CriticLossKind) -> Tensor:
    r"""Return what the critic minimises, without the gradient penalty.

    .. math::
        \text{wgan-gp:}\quad & E[D(fake)] - E[D(real)] \\
        \text{hinge:}\quad & E[\max(0, 1 - D(real))] + E[\max(0, 1 + D(fake))]

    The first is the paper's; its penalty is :func:`gradient_penalty`, added by the caller with a weight
    of its own. Detach both maps before scoring them, so that the critic's step trains the critic alone.

    Args:
        real_scores: Unbounded scores of the teacher's maps.
        fake_scores: Unbounded scores of the student's maps.
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
    r"""Return what the student minimises: :math:`-E[D(fake)]`, for both kinds.

    The paper writes the total with ``- weight * holistic``; the minus sign is in here, so the term is added
    like any other. Freeze the critic while the scores are computed: gradient still reaches the student.

    Args:
        fake_scores: Unbounded scores of the student's maps, attached to the student.
        kind: ``"wgan-gp"`` or ``"hinge"``, the kind the critic is trained with.

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
    r"""How far the critic's slope is from 1 between real and fake maps.

    .. math:: E\big[(\lVert \nabla_{\hat x} D(\hat x) \rVert_2 - 1)^2\big], \qquad
        \hat x = \epsilon \, real + (1 - \epsilon) \, fake, \quad \epsilon \sim U[0, 1]

    The norm is taken per sample over all axes, so the critic must not mix samples (no BatchNorm). A floor of
    1e-12 under the square root keeps the gradient finite where the critic is flat. The graph is kept for a
    second backward: the penalty trains the critic's parameters. Both maps are detached, so it trains nothing
    else.

    Args:
        critic: Called as ``critic(map, condition)``, or ``critic(map)`` without a condition; returns scores
            (B,). It must be differentiable twice (no fused attention, not compiled).
        real: The teacher's maps.
        fake: The student's maps.
        condition: What the critic is conditioned on, such as the images; not interpolated.
        eps: The share of the real map in each sample's interpolate, within [0, 1]; drawn at random when None.

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
    check_map("real", real)
    check_map("fake", fake)
    if real.shape != fake.shape:
        raise ValueError(
            f"`real` and `fake` must have the same shape (B, K, h, w), got {tuple(real.shape)} and "
            f"{tuple(fake.shape)}; resize one to the other."
        )
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
