"""Arranging the tokens of a Vision Transformer as a map."""

from __future__ import annotations

from torch import Tensor

_MAX_PREFIX_TOKENS = 9


def tokens_to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """Arrange a sequence of tokens as a map, without the prefix (class and register tokens).

    The grid is that of square patches: both sides of the image are divided by the same patch size. A patch
    size that divides both sides without remainder is preferred, with the shortest prefix of at most 9 tokens.
    Otherwise a remainder is cut off or, if there is no prefix, padded.

    Args:
        tokens: The prefix, and then the image's tokens row by row.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Shape:
        - tokens: (B, prefix + h * w, C)
        - output: (B, C, h, w)

    Raises:
        ValueError: If no grid or more than one grid of square patches has this number of tokens.
    """
    count = tokens.shape[1]
    cut: set[tuple[int, tuple[int, int]]] = set()
    padded: set[tuple[int, tuple[int, int]]] = set()
    whole: set[tuple[int, tuple[int, int]]] = set()
    for patch in range(1, min(height, width) + 1):
        grid = (height // patch, width // patch)
        prefix = count - grid[0] * grid[1]
        if 0 <= prefix <= _MAX_PREFIX_TOKENS:
            cut.add((prefix, grid))
            if height % patch == 0 and width % patch == 0:
                whole.add((prefix, grid))
        grid = (-(-height // patch), -(-width // patch))
        if grid[0] * grid[1] == count:
            padded.add((0, grid))
    exact = padded | {fit for fit in cut if fit[0] == 0}
    grids = {grid for _, grid in exact | ({min(whole)} if whole else cut)}
    if len(grids) != 1:
        raise ValueError(
            f"{count} tokens cannot be laid on a {height}x{width} image: "
            + (f"the grids {sorted(grids)} all fit" if grids else "no grid of square patches fits")
            + "; pick a module that puts out a map (B, C, h, w) with `student_feature` or `teacher_feature`."
        )
    rows, columns = grids.pop()
    image_tokens = tokens[:, count - rows * columns :]
    return image_tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], rows, columns)
