"""Maps are brought to one size without shifting, inventing or losing anything."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from hf_structkd.matching.alignment import align_to_coarser, at_least, resize_ids, resize_map


def nearest_at_centres(ids: Tensor, size: tuple[int, int]) -> Tensor:
    """The id under each new pixel's centre, by loops."""
    count, height, width = ids.shape
    out = torch.empty((count, *size), dtype=ids.dtype)
    for b in range(count):
        for i in range(size[0]):
            for j in range(size[1]):
                row = math.floor((i + 0.5) * height / size[0])
                column = math.floor((j + 0.5) * width / size[1])
                out[b, i, j] = ids[b, row, column]
    return out


def area_average(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """The mean of each cell of a grid that divides the map, by loops."""
    rows, columns = maps.shape[2] // size[0], maps.shape[3] // size[1]
    out = torch.empty((*maps.shape[:2], *size))
    for i in range(size[0]):
        for j in range(size[1]):
            cell = maps[:, :, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
            out[:, :, i, j] = cell.flatten(2).mean(dim=2)
    return out


def bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear interpolation between pixel centres, clamped at the border, by loops."""
    height, width = maps.shape[-2:]
    out = torch.empty((*maps.shape[:2], *size))
    for i in range(size[0]):
        y = min(max((i + 0.5) * height / size[0] - 0.5, 0), height - 1)
        top, bottom, down = math.floor(y), min(math.floor(y) + 1, height - 1), y - math.floor(y)
        for j in range(size[1]):
            x = min(max((j + 0.5) * width / size[1] - 0.5, 0), width - 1)
            left, right, across = math.floor(x), min(math.floor(x) + 1, width - 1), x - math.floor(x)
            upper = (1 - across) * maps[..., top, left] + across * maps[..., top, right]
            lower = (1 - across) * maps[..., bottom, left] + across * maps[..., bottom, right]
            out[..., i, j] = (1 - down) * upper + down * lower
    return out


@pytest.mark.parametrize("size", [(4, 6), (3, 5), (8, 12), (1, 1), (11, 7)])
def test_ids_are_taken_at_pixel_centres(size: tuple[int, int]) -> None:
    """Taken at corners, every mask is shifted by half a pixel of the coarse map."""
    ids = torch.randint(0, 256, (2, 8, 12))
    assert torch.equal(resize_ids(ids, size), nearest_at_centres(ids, size))


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (5, 7), (10, 14), (13, 5)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float32])
def test_one_map_of_ids_or_depths_is_resized_in_its_own_type(
    size: tuple[int, int], dtype: torch.dtype
) -> None:
    """A map that becomes floating point is no index, and a mean of two depths is nobody's depth."""
    label = torch.randint(0, 200, (5, 7)).to(dtype)
    result = resize_ids(label, size)
    assert result.dtype == dtype
    for i in range(size[0]):
        for j in range(size[1]):
            assert result[i, j] == label[(2 * i + 1) * 5 // (2 * size[0]), (2 * j + 1) * 7 // (2 * size[1])]


@pytest.mark.parametrize(("old", "new"), [(2, 141), (4, 246), (6, 477), (96, 37), (96, 148), (5, 8)])
def test_a_centre_between_two_pixels_takes_the_later_one_at_every_size(old: int, new: int) -> None:
    """In float32 a product just below a whole number takes the earlier one: it then depends on the size."""
    ids = torch.arange(old)[None]
    exact = [math.floor(Fraction(2 * i + 1, 2 * new) * old) for i in range(new)]
    assert resize_ids(ids, (1, new))[0].tolist() == exact
    assert resize_ids(ids.T, (new, 1))[:, 0].tolist() == exact


def test_a_mask_stays_bool() -> None:
    """As an integer it would index instead of select."""
    mask = torch.rand(2, 8, 12) > 0.5
    resized = resize_ids(mask, (4, 6))
    assert resized.dtype == torch.bool
    assert torch.equal(resized, nearest_at_centres(mask, (4, 6)))


def test_large_ids_stay_exact() -> None:
    """float32 has no 16,777,217."""
    ids = torch.tensor([[[2**24 + 1, 2**31]]])
    assert resize_ids(ids, (2, 4)).unique().tolist() == [2**24 + 1, 2**31]


@pytest.mark.parametrize("size", [(8, 12), (2, 3), (5, 7), (4, 6)])
def test_maps_are_resized_between_pixel_centres(size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, 4, 6)
    torch.testing.assert_close(resize_map(maps, size), bilinear(maps, size), atol=1e-5, rtol=0)


def test_half_precision_is_resized_in_single() -> None:
    maps = torch.randn(1, 2, 4, 4).bfloat16()
    resized = resize_map(maps, (8, 8))
    assert resized.dtype == torch.float32
    torch.testing.assert_close(resized, bilinear(maps.float(), (8, 8)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("student", "teacher", "common"),
    [
        ((8, 12), (4, 6), (4, 6)),
        ((4, 6), (8, 12), (4, 6)),
        ((8, 6), (4, 12), (4, 6)),
        ((12, 12), (4, 3), (4, 3)),
    ],
)
def test_the_finer_map_is_averaged_over_the_coarser_grid(
    student: tuple[int, int], teacher: tuple[int, int], common: tuple[int, int]
) -> None:
    """Picking pixels would leave most of the finer map without a gradient."""
    student_map, teacher_map = torch.randn(2, 3, *student), torch.randn(2, 5, *teacher)
    aligned = align_to_coarser(student_map, teacher_map)
    for result, before in zip(aligned, (student_map, teacher_map), strict=True):
        torch.testing.assert_close(result, area_average(before, common))


def test_every_fine_pixel_gets_gradient_where_sizes_do_not_divide() -> None:
    fine = torch.randn(1, 2, 7, 9, requires_grad=True)
    aligned, _ = align_to_coarser(fine, torch.randn(1, 2, 4, 4))
    aligned.square().sum().backward()
    assert aligned.shape == (1, 2, 4, 4)
    assert fine.grad is not None
    assert (fine.grad != 0).all()


def test_what_has_the_size_comes_back_itself() -> None:
    """A copy of every map in every step is memory and time for nothing."""
    maps, ids = torch.randn(1, 2, 4, 6), torch.zeros(1, 4, 6, dtype=torch.long)
    assert resize_map(maps, (4, 6)) is maps
    assert resize_ids(ids, (4, 6)) is ids
    student, teacher = align_to_coarser(maps, maps)
    assert student is maps
    assert teacher is maps


@pytest.mark.parametrize(
    ("size", "expected"), [((4, 4), (8, 8)), ((4, 16), (8, 16)), ((16, 9), (16, 9)), ((8, 8), (8, 8))]
)
def test_at_least_raises_each_side_by_itself(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert at_least(torch.Size(size), 8) == expected
