"""The depth scores that every table quotes, against slow loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_structkd.metrics import DEPTH_SCORES, DepthErrors, depth_statistics

S = len(DEPTH_SCORES)
HOLES = (0.0, math.nan, math.inf, -math.inf, -2.0)


def slow_counted(
    target: np.ndarray, min_depth: float, max_depth: float | None, crop: str | None
) -> list[tuple[int, int]]:
    """Pixels that count, one at a time."""
    height, width = target.shape
    pixels = []
    for i in range(height):
        for j in range(width):
            t = target[i, j]
            if not math.isfinite(t) or t <= min_depth or (max_depth is not None and t >= max_depth):
                continue
            rows = range(math.floor(45 / 480 * height), math.floor(471 / 480 * height))
            columns = range(math.floor(41 / 640 * width), math.floor(601 / 640 * width))
            if crop == "eigen" and (i not in rows or j not in columns):
                continue
            pixels.append((i, j))
    return pixels


def slow_aligned(p: list[float], t: list[float], alignment: str) -> list[float]:
    if alignment == "median":
        return [x * float(np.median(t)) / float(np.median(p)) for x in p]
    if alignment == "affine":
        (scale, shift), *_ = np.linalg.lstsq(np.stack([p, np.ones(len(p))], axis=1), np.array(t), rcond=None)
        return [scale * x + shift for x in p]
    return p


def slow_scores(
    prediction: Tensor,
    target: Tensor,
    min_depth: float = 1e-3,
    max_depth: float | None = None,
    crop: str | None = None,
    alignment: str = "none",
) -> list[float]:
    """One row of statistics from the definitions, pixel by pixel in float64; sizes must agree."""
    truth = target.double().numpy()
    pixels = slow_counted(truth, min_depth, max_depth, crop)
    if not pixels:
        return [0.0] * (1 + S)
    t = [float(truth[pixel]) for pixel in pixels]
    p = slow_aligned([float(prediction.double()[pixel]) for pixel in pixels], t, alignment)
    p = [min(max(x, min_depth), math.inf if max_depth is None else max_depth) for x in p]
    sums = dict.fromkeys((*DEPTH_SCORES, "g", "g2"), 0.0)
    for x, y in zip(p, t, strict=True):
        g = math.log(x) - math.log(y)
        sums["g"] += g
        sums["g2"] += g * g
        sums["abs_rel"] += abs(x - y) / y
        sums["sq_rel"] += (x - y) ** 2 / y
        sums["rmse"] += (x - y) ** 2
        sums["log10"] += abs(math.log10(x) - math.log10(y))
        for k in (1, 2, 3):
            sums[f"delta{k}"] += max(x / y, y / x) < 1.25**k
    mean = {name: value / len(t) for name, value in sums.items()}
    mean["rmse"] = math.sqrt(mean["rmse"])
    mean["rmse_log"] = math.sqrt(mean["g2"])
    mean["silog"] = 100 * math.sqrt(mean["g2"] - mean["g"] ** 2)
    return [1.0, *(mean[name] for name in DEPTH_SCORES)]


def random_depth(*shape: int) -> tuple[Tensor, Tensor]:
    """Predictions and targets of 0.5 to 12 metres, every tenth target a hole of some kind."""
    target = 0.5 + 11.5 * torch.rand(shape)
    prediction = (target * (1 + 0.5 * torch.randn(shape))).clamp(min=-1)
    holes = torch.rand(shape) < 0.1
    target[holes] = torch.tensor(HOLES)[torch.randint(0, len(HOLES), (int(holes.sum()),))]
    return prediction.nan_to_num(3.0, posinf=3.0, neginf=3.0), target


def scores_of(*args: Any, **kwargs: Any) -> dict[str, float]:
    """The scores of a single image by name."""
    row = depth_statistics(*args, **kwargs)
    assert row.shape == (1, 1 + S)
    assert row[0, 0] == 1
    return dict(zip(DEPTH_SCORES, row[0, 1:].tolist(), strict=True))


@pytest.mark.parametrize("alignment", ["none", "median", "affine"])
@pytest.mark.parametrize("crop", [None, "eigen"])
@pytest.mark.parametrize("max_depth", [None, 10.0])
def test_scores_equal_their_definitions(alignment: str, crop: str | None, max_depth: float | None) -> None:
    prediction, target = random_depth(3, 23, 31)
    settings = {"min_depth": 0.7, "max_depth": max_depth, "crop": crop, "alignment": alignment}
    result = depth_statistics(prediction, target, **settings)
    assert result.dtype == torch.float64
    for row, p, t in zip(result.tolist(), prediction, target, strict=True):
        assert row == pytest.approx(slow_scores(p, t, **settings), rel=1e-9)


def test_two_pixels_by_hand() -> None:
    """Truth 2 and 4, prediction 1 and 4: errors 1 and 0, ratios 2 and 1, logarithms -ln 2 and 0."""
    scores = scores_of(torch.tensor([[[1.0, 4.0]]]), torch.tensor([[[2.0, 4.0]]]))
    assert scores == pytest.approx(
        {
            "abs_rel": 0.25,
            "sq_rel": 0.25,
            "rmse": math.sqrt(0.5),
            "rmse_log": math.log(2) / math.sqrt(2),
            "log10": math.log10(2) / 2,
            "silog": 50 * math.log(2),  # the logarithms lie ln(2) / 2 from their mean
            "delta1": 0.5,
            "delta2": 0.5,
            "delta3": 0.5,
        },
        rel=1e-12,
    )


def test_the_errors_are_relative_to_the_truth() -> None:
    """With the roles exchanged, abs_rel would be 1 and sq_rel 4 here."""
    scores = scores_of(torch.full((1, 1, 1), 4.0), torch.full((1, 1, 1), 8.0))
    assert (scores["abs_rel"], scores["sq_rel"], scores["rmse"]) == (0.5, 2.0, 4.0)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_ratio_on_the_threshold_is_no_hit(k: int) -> None:
    """1.25 to the k and its neighbour below, both as prediction over truth and the other way round."""
    at, below = 1.25**k, math.nextafter(1.25**k, 0)
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    assert scores_of(one * at, one)[f"delta{k}"] == 0
    assert scores_of(one, one * at)[f"delta{k}"] == 0
    assert scores_of(one * below, one)[f"delta{k}"] == 1


@pytest.mark.parametrize("alignment", ["none", "median", "affine"])
def test_a_perfect_prediction_has_no_error(alignment: str) -> None:
    _, target = random_depth(1, 9, 8)
    scores = scores_of(target, target, max_depth=10.0, alignment=alignment)
    errors = [value for name, value in scores.items() if not name.startswith("delta")]
    assert errors == pytest.approx([0.0] * 6, abs=1e-9)
    assert [scores[f"delta{k}"] for k in (1, 2, 3)] == [1.0] * 3


@pytest.mark.parametrize("alignment", ["none", "median", "affine"])
def test_uncounted_pixels_never_enter(alignment: str) -> None:
    """A model would be scored for what nobody measured: glass, sky, the frame's border."""
    settings = {"min_depth": 0.5, "max_depth": 8.0, "crop": "eigen", "alignment": alignment}
    prediction, target = random_depth(2, 24, 32)
    expected = depth_statistics(prediction, target, **settings)
    outside = (*HOLES, 0.5, 8.0, 100.0)
    for image in range(2):
        pixels = slow_counted(target[image].double().numpy(), 0.5, 8.0, "eigen")
        uncounted = torch.ones(24, 32, dtype=torch.bool)
        uncounted[tuple(torch.tensor(pixels).T)] = False
        count = int(uncounted.sum())
        junk = torch.tensor([*HOLES, 1e30])
        prediction[image][uncounted] = junk[torch.randint(0, len(junk), (count,))]
        border = uncounted.clone()
        border[2:23, 2:30] = False
        target[image][uncounted] = torch.tensor(outside)[torch.randint(0, len(outside), (count,))]
        target[image][border] = 2.0  # measured, but outside the crop
    assert torch.equal(depth_statistics(prediction, target, **settings), expected)


def test_both_ends_of_the_range_are_excluded() -> None:
    """In float64, 0.7 in float32 lies below 0.7: whether a pixel counts would hang on a rounding error."""
    target = torch.tensor([[[0.7, 10.0]]])
    assert depth_statistics(target, target, min_depth=0.3, max_depth=0.7)[0, 0] == 0
    assert depth_statistics(target[..., 1:], target[..., 1:], min_depth=10.0)[0, 0] == 0
    assert depth_statistics(target, target, min_depth=0.6, max_depth=0.71)[0, 0] == 1


def test_the_eigen_crop_of_a_full_frame_is_the_published_one() -> None:
    """One row more or fewer, and no number compares with a published one."""
    target = torch.ones(1, 480, 640)
    prediction = torch.full((1, 480, 640), 100.0)
    prediction[:, 45:471, 41:601] = 1.0
    assert scores_of(prediction, target, crop="eigen")["rmse"] == 0
    for row, column in ((45, 41), (470, 600), (45, 600), (470, 41)):
        changed = prediction.clone()
        changed[:, row, column] = 100.0
        assert scores_of(changed, target, crop="eigen")["rmse"] > 0


def test_the_prediction_is_clamped_to_the_range() -> None:
    """A negative depth has no logarithm; one far pixel would rule a mean over a 10 m room."""
    target = torch.tensor([[[2.0, 2.0, 2.0, 2.0]]])
    prediction = torch.tensor([[[-5.0, 0.0, 1e9, math.inf]]])
    clamped = torch.tensor([[[0.5, 0.5, 10.0, 10.0]]])
    settings = {"min_depth": 0.5, "max_depth": 10.0}
    assert scores_of(prediction, target, **settings) == scores_of(clamped, target, **settings)
    assert math.isfinite(scores_of(prediction[..., :3], target[..., :3])["silog"])


def test_clamping_follows_the_alignment() -> None:
    """Before it, a relative prediction of 0 to 1 would lose all that lies below the range."""
    target = torch.tensor([[[2.0, 4.0, 8.0]]])
    assert scores_of(target / 1e6, target, alignment="median")["rmse"] == pytest.approx(0, abs=1e-6)
    capped = scores_of(torch.tensor([[[1.0, 2.0, 50.0]]]), target, max_depth=9.0, alignment="median")
    assert capped["rmse"] == pytest.approx(math.sqrt(1 / 3))


def test_median_alignment_removes_a_scale() -> None:
    prediction, target = random_depth(1, 9, 8)
    prediction = prediction.clamp(min=0.01)
    expected = scores_of(prediction, target, alignment="median")
    assert scores_of(prediction * 7.3, target, alignment="median") == pytest.approx(expected, rel=1e-5)
    assert scores_of(target * 7.3, target, alignment="median")["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert scores_of(target * 7.3 + 2, target, alignment="median")["abs_rel"] > 0.01


@pytest.mark.parametrize("scale", [0.02, 7.3, 0.3])
def test_affine_alignment_removes_scale_and_shift(scale: float) -> None:
    prediction, target = random_depth(1, 9, 8)
    expected = scores_of(prediction, target, alignment="affine")
    moved = prediction * scale + 20
    assert scores_of(moved, target, alignment="affine") == pytest.approx(expected, rel=1e-3)
    assert scores_of(target * scale + 20, target, alignment="affine")["abs_rel"] == pytest.approx(0, abs=1e-4)


def test_affine_alignment_of_a_distant_map_keeps_its_digits() -> None:
    """The textbook normal equations lose every digit once the mean dwarfs the variation."""
    target = torch.rand(1, 20, 20, dtype=torch.float64) + 1
    assert scores_of(target + 1e8, target, alignment="affine")["abs_rel"] < 1e-6


def test_affine_alignment_of_a_constant_gives_the_mean() -> None:
    """An untrained student often predicts one: 0 / 0 would make its score, and the dataset's, NaN."""
    target = torch.tensor([[[1.0, 3.0]]])
    for constant in (0.0, 0.1, 5.0):
        scores = scores_of(torch.full((1, 1, 2), constant), target, alignment="affine")
        assert scores["rmse"] == pytest.approx(1.0)


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_a_prediction_without_positive_median_is_not_scaled(value: float) -> None:
    """Divided by 0 it would be NaN, and by a negative number far would become near."""
    target = torch.tensor([[[1.0, 2.0, 4.0]]])
    prediction = torch.tensor([[[value, value, 3.0]]])
    assert scores_of(prediction, target, alignment="median") == scores_of(prediction, target)


def test_a_nan_prediction_is_seen() -> None:
    """Replaced by the smallest depth, a broken model would get a plausible score."""
    prediction = torch.tensor([[[1.0, math.nan, 1.0]]])
    for alignment in ("none", "median"):
        scores = scores_of(prediction, torch.ones(1, 1, 3), alignment=alignment)
        assert math.isnan(scores["abs_rel"])
        assert scores["delta1"] == pytest.approx(2 / 3)


def test_silog_of_a_pure_scale_error_is_zero_and_not_nan() -> None:
    """mean(g^2) - mean(g)^2 rounds to below 0 there, and its root to NaN."""
    for pixels in range(1, 40):
        target = torch.ones(1, 1, pixels)
        assert scores_of(target * 3, target)["silog"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("as_list", [False, True])
def test_each_image_is_scored_at_its_targets_own_size(as_list: bool) -> None:
    """Scoring at the prediction's size would hide thin objects and flatter every model."""
    prediction, _ = random_depth(3, 4, 5)
    sizes = [(9, 8), (5, 11), (3, 4)] if as_list else [(9, 8)] * 3
    targets = [random_depth(*size)[1] for size in sizes]
    result = depth_statistics(prediction, targets if as_list else torch.stack(targets))
    for row, p, t in zip(result.tolist(), prediction, targets, strict=True):
        resized = F.interpolate(p[None, None].double(), t.shape, mode="bilinear", align_corners=False)[0, 0]
        assert row == pytest.approx(slow_scores(resized, t), rel=1e-4)


def test_half_precision_is_resized_in_single_precision() -> None:
    prediction = (1 + torch.rand(2, 3, 3)).bfloat16()
    target = 1 + torch.rand(2, 20, 20)
    assert torch.equal(depth_statistics(prediction, target), depth_statistics(prediction.float(), target))


def test_only_one_image_at_a_time_is_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    resize = F.interpolate
    monkeypatch.setattr(F, "interpolate", lambda x, **kw: (seen.append(len(x)), resize(x, **kw))[1])
    depth_statistics(torch.ones(5, 2, 2), torch.ones(5, 4, 4))
    assert seen == [1] * 5


def test_statistics_carry_no_gradient() -> None:
    """Kept over an evaluation, the graphs of all images would fill the memory."""
    result = depth_statistics(torch.ones(1, 2, 2, requires_grad=True), torch.ones(1, 2, 2))
    assert not result.requires_grad


def test_an_empty_batch_gives_no_row() -> None:
    assert depth_statistics(torch.zeros(0, 2, 2), torch.zeros(0, 4, 4)).shape == (0, 1 + S)


def test_an_image_without_counted_pixels_does_not_count() -> None:
    """Counted as zeros, it would lower every error and every delta."""
    prediction, target = random_depth(3, 6, 5)
    target[1] = torch.tensor(HOLES)
    result = depth_statistics(prediction, target, alignment="affine")
    assert result[1].tolist() == [0.0] * (1 + S)
    metric, without = DepthErrors(), DepthErrors()
    metric.add_statistics(depth_statistics(prediction, target))
    without.add_statistics(depth_statistics(prediction[[0, 2]], target[[0, 2]]))
    assert len(metric) == 3
    assert metric.compute() == without.compute()


def test_only_empty_images_give_nan_and_no_crash() -> None:
    scores = DepthErrors().compute(predictions=[[[1.0]]], references=[[[0.0]]])
    assert set(scores) == {*DEPTH_SCORES}
    assert all(math.isnan(value) for value in scores.values())


def test_the_dataset_score_is_the_mean_over_images() -> None:
    """Pooled over pixels instead, the first image would weigh three times the second."""
    target = torch.tensor([[[1.0, 1.0, 1.0]], [[1.0, 0.0, 0.0]]])
    prediction = torch.tensor([[[2.0, 2.0, 2.0]], [[4.0, 9.0, 9.0]]])
    assert DepthErrors().compute(predictions=prediction, references=target)["abs_rel"] == 2.0


def test_streaming_equals_all_at_once() -> None:
    prediction, target = random_depth(7, 6, 5)
    settings = {"min_depth": 0.6, "max_depth": 9.0, "crop": "eigen", "alignment": "affine"}
    stream, whole = DepthErrors(**settings), DepthErrors(**settings)
    stream.add(prediction=prediction[0], reference=target[0])
    stream.add_batch(predictions=prediction[1:3], references=target[1:3])
    stream.add_batch(predictions=[prediction[3].numpy()], references=[target[3].numpy()])
    stream.add_batch(predictions=prediction[4:5].tolist(), references=target[4:5].tolist())
    stream.add_batch(predictions=[], references=[])
    stream.add_statistics(depth_statistics(prediction[5:], target[5:], **settings))
    assert len(stream) == 7
    whole.add_statistics(depth_statistics(prediction, target, **settings))
    scores = stream.compute()
    assert list(scores) == list(DEPTH_SCORES)
    assert all(type(value) is float for value in scores.values())
    assert scores == pytest.approx(whole.compute(), rel=1e-12)
    rows = [slow_scores(p, t, **settings) for p, t in zip(prediction, target, strict=True)]
    assert list(scores.values()) == pytest.approx(np.mean(rows, axis=0)[1:].tolist(), rel=1e-9)


def test_sums_keep_double_precision() -> None:
    """In float32 a sum of 2 ** 24 no longer grows by 1: the last images would not count."""
    metric = DepthErrors()
    metric.add_statistics(torch.full((1, 1 + S), 2.0**24))
    metric.add_statistics(torch.ones(1, 1 + S) * torch.tensor([0.0] + [1.0] * S))
    assert metric.compute()["rmse"] == (2**24 + 1) / 2**24 != 1.0


def test_instances_share_nothing_and_start_afresh_after_compute() -> None:
    """Leftovers would mix one epoch's images into the next epoch's score."""
    first, second = DepthErrors(), DepthErrors()
    first.add_batch(predictions=[[[3.0]]], references=[[[1.0]]])
    assert len(second) == 0
    assert first.compute()["rmse"] == 2.0
    first.add_batch(predictions=[[[1.0]]], references=[[[1.0]]])
    assert first.compute()["rmse"] == 0.0
    with pytest.raises(ValueError, match="at least one image, got none"):
        first.compute()


def test_a_refused_batch_leaves_nothing_behind() -> None:
    """Half of it would be counted twice by whoever repairs the batch and adds it again."""
    metric = DepthErrors()
    with pytest.raises(TypeError, match="floating point"):
        metric.add_batch(predictions=[[[1.0]], [[1]]], references=[[[2.0]], [[2.0]]])
    assert len(metric) == 0


def test_memory_does_not_grow_with_images() -> None:
    metric = DepthErrors()
    for images in (1, 50):
        metric.add_batch(predictions=torch.ones(images, 2, 2), references=torch.ones(images, 2, 2))
        tensors = {name: value.numel() for name, value in vars(metric).items() if isinstance(value, Tensor)}
        assert tensors == {"_sums": 1 + S}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_depth": 0.0}, "`min_depth` must be finite and above 0, got 0.0"),
        ({"min_depth": -1.0}, "`min_depth` must be finite and above 0, got -1.0"),
        ({"min_depth": math.nan}, "`min_depth` must be finite and above 0, got nan"),
        ({"min_depth": math.inf}, "`min_depth` must be finite and above 0, got inf"),
        ({"min_depth": 1.0, "max_depth": 1.0}, r"`max_depth` must be above `min_depth`=1\.0, got 1\.0"),
        ({"max_depth": math.nan}, "`max_depth` must be above .* got nan"),
        ({"crop": "garg"}, r"`crop` must be one of \('eigen',\) or None, got 'garg'"),
        ({"alignment": "scale"}, r"`alignment` must be one of \('none', 'median', 'affine'\), got 'scale'"),
        ({"alignment": None}, "`alignment` must be one of .* got None"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DepthErrors(**settings)
    with pytest.raises(ValueError, match=message):
        depth_statistics(torch.ones(1, 2, 2), torch.ones(1, 2, 2), **settings)


ONE = torch.ones(1, 2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: depth_statistics(ONE[None], ONE), r"`prediction` .* \(B, h, w\), got \(1, 1, 2, 2\)"),
        (lambda: depth_statistics(ONE.repeat(2, 1, 1), ONE), "1 maps for 2 images"),
        (lambda: depth_statistics(ONE, ONE[None]), r"maps of shape \(H, W\), got \(1, 2, 2\)"),
        (lambda: DepthErrors().add_statistics(torch.ones(2, S)), r"\(B, 10\), got \(2, 9\)"),
        (lambda: DepthErrors().add_statistics(torch.ones(1 + S)), r"\(B, 10\), got \(10,\)"),
        (lambda: DepthErrors().add_batch(predictions=[[[1.0]]], references=[]), "length, got 1 and 0"),
    ],
)
def test_wrong_calls_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_types_are_named() -> None:
    with pytest.raises(TypeError, match=r"got torch\.float32 predictions and torch\.int64 targets"):
        depth_statistics(ONE, ONE.long())
    with pytest.raises(TypeError, match=r"torch\.int32 pred"):
        depth_statistics(ONE.int(), ONE)
    with pytest.raises(TypeError, match="must both be given, got NoneType"):
        DepthErrors().add_batch(references=[[[1.0]]])
