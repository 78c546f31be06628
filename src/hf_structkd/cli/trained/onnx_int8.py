"""Turn an ONNX file into one of 8-bit integers."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from ..extras import optional

_LONGEST = 200


class _Calibration:
    """Hands images to the quantizer, one at a time."""

    def __init__(self, images: Iterable[Tensor]) -> None:
        self._images: Iterator[Tensor] = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next image, or None behind the last."""
        image = next(self._images, None)
        return None if image is None else {"pixel_values": image.numpy()}


def quantize(source: Path, target: Path, images: Iterable[Tensor]) -> None:
    """Write the 8-bit file: weights channel by channel, activations by their range on the images.

    Args:
        source: The ONNX file.
        target: The file to write.
        images: Images (1, 3, H, W) of the training data.

    Raises:
        UsageError: If onnxruntime is not installed.
        ValueError: If the file cannot be turned into integers.
    """
    what = {"extra": "onnx", "needed_for": "8-bit integers"}
    quantization = optional("onnxruntime.quantization", **what)
    preparation = optional("onnxruntime.quantization.shape_inference", **what)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # onnxruntime warns through the root logger
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepared = Path(folder) / "prepared.onnx"
            preparation.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(target),
                _Calibration(images),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                weight_type=quantization.QuantType.QInt8,
                activation_type=quantization.QuantType.QUInt8,
            )
    except Exception as error:  # the quantizer raises many types
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(
            f"{source.name} cannot be turned into 8-bit integers ({said[:_LONGEST]}); leave --int8 out."
        ) from error
    finally:
        root.setLevel(level)
