"""A fixed number of views of each image, and a key for what a model is shown of one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
import xxhash
from torch import Tensor

TEACHER_IMAGE = "teacher_pixel_values"
"""Name of an image in the teacher's size, beside the student's."""


def seeded_generator(*parts: object, identity: bytes) -> torch.Generator:
    """Return a generator whose numbers depend on these parts and on the image's identity alone."""
    text = "/".join(map(str, parts)) + "/"
    digest = hashlib.blake2b(text.encode() + identity, digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))


def view_in_epoch(epoch: int, views: int, *, seed: int, identity: bytes) -> int:
    """Return which of its views an image shows in an epoch, from 0 to `views` - 1.

    In each pass of `views` epochs an image shows every view once, in an order that is new in every pass and
    differs from image to image.
    """
    turn, place = divmod(epoch, views)
    order = torch.randperm(views, generator=seeded_generator(seed, "order", turn, identity=identity))
    return int(order[place])


def sample_key(inputs: Sequence[Tensor]) -> Tensor:
    """Return 128 bits (2,) int64 that tell what a model is shown of one image from anything else.

    They cover each tensor's values, shape and type: the file, its decoding, the view and the normalisation.

    Args:
        inputs: The tensors of one image, on the CPU.
    """
    digest = xxhash.xxh3_128()
    for tensor in inputs:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    number = digest.intdigest()
    halves = [number >> 64, number & (2**64 - 1)]
    return torch.tensor([half - 2**64 if half >= 2**63 else half for half in halves])
