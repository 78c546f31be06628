"""A teacher whose linear layers hold their weights in eight bits."""

from __future__ import annotations

import importlib
import importlib.util

from torch import nn


def quantize_weights(model: nn.Module) -> None:
    """Store the weights of all linear layers of a model as int8, one scale for each row, in place.

    The layers multiply in the precision of the model. Convolutions and all other layers stay as they are.

    Raises:
        ImportError: If torchao is not installed.
        ValueError: If the model has no linear layer, so that nothing would become smaller.
    """
    if importlib.util.find_spec("torchao") is None:
        raise ImportError(
            "`teacher_dtype` int8 needs torchao, which is not installed; run "
            '`pip install "hf_structkd[quantization]"`, or choose bfloat16.'
        )
    if not any(isinstance(module, nn.Linear) for module in model.modules()):
        raise ValueError(
            f"`teacher_dtype` int8 stores linear layers in eight bits, got {type(model).__name__}, which has "
            "none; choose bfloat16."
        )
    torchao = importlib.import_module("torchao.quantization")
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
