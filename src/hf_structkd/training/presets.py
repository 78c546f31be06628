"""Published configurations, their weights converted to this library's means."""

from __future__ import annotations

import copy
from typing import Any

_PUBLISHED: dict[str, Any] = {
    "task_weight": 1.0,
    "temperature": 1.0,
    "granularity": [2],
    "node_grid": None,
    "connection_range": None,
    "critic_optimizer": "adam",
    "critic_learning_rate": 4e-4,
    "critic_max_grad_norm": 0.0,
    "critic_conditional": True,
    "critic_spectral_norm": True,
    "gradient_penalty_weight": 10.0,
}

PRESETS: dict[str, dict[str, Any]] = {
    "paper": _PUBLISHED
    | {
        "pixel_weight": 10.0,
        "pairwise_weight": 10.0,
        "holistic_weight": 0.1,
        "node_pooling": "mean",
        "critic_loss": "wgan-gp",
    },
    "official": _PUBLISHED
    | {
        "pixel_weight": 10.0,
        "pairwise_weight": 0.5,
        "holistic_weight": 0.1,
        "node_grid": 3,
        "node_pooling": "max",
        "critic_loss": "wgan-gp",
        "critic_optimizer": "sgd",
        "critic_conditional": False,
    },
    "cirkd": _PUBLISHED
    | {
        "pixel_weight": 1.0,
        "pairwise_weight": 10.0,
        "holistic_weight": 0.001,
        "node_pooling": "max",
        "critic_loss": "hinge",
        "critic_conditional": False,
        "gradient_penalty_weight": 0.0,
    },
}
"""What each published configuration sets; written out, so that no default of ours changes it."""


def preset_settings(preset: str) -> dict[str, Any]:
    """Return the fields that a preset sets, before overrides.

    Raises:
        ValueError: If the preset is unknown.
    """
    if preset not in PRESETS:
        raise ValueError(f"`preset` must be one of {sorted(PRESETS)}, got {preset!r}.")
    return copy.deepcopy(PRESETS[preset])
