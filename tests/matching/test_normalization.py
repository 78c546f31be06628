"""The teacher sees the image that its own processor would have made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.beit.image_processing_pil_beit import BeitImageProcessorPil
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
from transformers.models.glpn.image_processing_pil_glpn import GLPNImageProcessorPil
from transformers.models.mobilenet_v2.image_processing_pil_mobilenet_v2 import MobileNetV2ImageProcessorPil
from transformers.models.mobilevit.image_processing_pil_mobilevit import MobileViTImageProcessorPil
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from hf_structkd.matching.normalization import ImageNormalization, convert_normalization

PROCESSORS = {
    "segformer": SegformerImageProcessorPil(),
    "beit": BeitImageProcessorPil(),
    "mobilevit": MobileViTImageProcessorPil(),
    "mobilenet_v2": MobileNetV2ImageProcessorPil(),
    "dpt": DPTImageProcessorPil(),
    "glpn": GLPNImageProcessorPil(),
    "not rescaled": SegformerImageProcessorPil(
        do_rescale=False, image_mean=[120.0] * 3, image_std=[60.0] * 3
    ),
    "one number": DPTImageProcessorPil(image_mean=0.4, image_std=0.3),
}


@pytest.fixture
def image() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)


def _processed(processor: Any, image: np.ndarray[Any, Any]) -> torch.Tensor:
    output = processor(image, do_resize=False, do_center_crop=False, return_tensors="pt")
    return output["pixel_values"].float()


def _rgb(image: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("name", PROCESSORS)
def test_normalize_does_what_the_processor_does(name: str, image: np.ndarray[Any, Any]) -> None:
    normalization = ImageNormalization.from_image_processor(PROCESSORS[name])
    torch.testing.assert_close(normalization.normalize(_rgb(image)), _processed(PROCESSORS[name], image))


@pytest.mark.parametrize("name", PROCESSORS)
def test_denormalize_gives_the_image_back(name: str, image: np.ndarray[Any, Any]) -> None:
    """The critic would otherwise see student and teacher beside differently coloured images."""
    normalization = ImageNormalization.from_image_processor(PROCESSORS[name])
    rgb = normalization.denormalize(_processed(PROCESSORS[name], image))
    torch.testing.assert_close(rgb, _rgb(image))


@pytest.mark.parametrize("target", PROCESSORS)
@pytest.mark.parametrize("source", PROCESSORS)
def test_converting_equals_the_other_processor_and_back_again(
    source: str, target: str, image: np.ndarray[Any, Any]
) -> None:
    """A teacher fed with the student's normalisation is a worse teacher, and nothing else shows it."""
    theirs, ours = (ImageNormalization.from_image_processor(PROCESSORS[name]) for name in (source, target))
    given = _processed(PROCESSORS[source], image)
    converted = convert_normalization(given, theirs, ours)
    torch.testing.assert_close(converted, _processed(PROCESSORS[target], image), rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(convert_normalization(converted, ours, theirs), given, rtol=1e-5, atol=2e-5)


def test_equal_normalisations_copy_nothing(image: np.ndarray[Any, Any]) -> None:
    one = ImageNormalization.from_image_processor(PROCESSORS["segformer"])
    other = ImageNormalization.from_image_processor(SegformerImageProcessorPil())
    pixel_values = _rgb(image)
    assert convert_normalization(pixel_values, one, other) is pixel_values


def test_the_channels_are_flipped_for_bgr() -> None:
    red = torch.zeros(3, 2, 2)
    red[0] = 1
    assert ImageNormalization(channel_order="bgr").normalize(red)[:, 0, 0].tolist() == [0, 0, 1]


def test_the_default_leaves_an_image_as_it_is(image: np.ndarray[Any, Any]) -> None:
    assert torch.equal(ImageNormalization().normalize(_rgb(image)), _rgb(image))


def test_the_result_has_the_type_of_the_images(image: np.ndarray[Any, Any]) -> None:
    normalization = ImageNormalization.from_image_processor(PROCESSORS["beit"])
    assert normalization.normalize(_rgb(image).bfloat16()).dtype == torch.bfloat16


def test_what_is_no_image_processor_is_refused() -> None:
    with pytest.raises(TypeError, match="must be an image processor, got dict"):
        ImageNormalization.from_image_processor({})


@pytest.mark.parametrize("mean", [None, [0.5], [0.1, 0.2, 0.3, 0.4]])
def test_normalising_without_three_means_is_refused(mean: list[float] | None) -> None:
    processor = SegformerImageProcessorPil()
    processor.image_mean = mean
    with pytest.raises(ValueError, match="`image_mean` must be one number or three"):
        ImageNormalization.from_image_processor(processor)


@pytest.mark.parametrize("settings", [{"std": (1.0, 0.0, 1.0)}, {"rescale_factor": 0.0}])
def test_what_cannot_be_undone_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must not be 0"):
        ImageNormalization(**settings)


def test_an_unknown_channel_order_is_refused() -> None:
    with pytest.raises(ValueError, match="must be 'rgb' or 'bgr', got 'gbr'"):
        ImageNormalization(channel_order="gbr")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 4, 2, 2), torch.zeros(3, 2), torch.zeros(1, 3, 2, 2, dtype=torch.uint8)]
)
def test_what_is_no_float_image_is_refused(images: torch.Tensor) -> None:
    """Channels-last or 8-bit images broadcast or wrap, and train on garbage."""
    with pytest.raises(ValueError, match="must be floating point with 3 channels"):
        ImageNormalization().normalize(images)
