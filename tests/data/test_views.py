"""Views: which augmentation an image shows in which epoch, and how one view is told from another."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from hf_structkd import load_segmentation_data
from hf_structkd.data import (
    ClassMap,
    DenseAugmentation,
    DenseReader,
    StoredRows,
    StreamedRows,
    kept_views_note,
)
from hf_structkd.data.views import sample_key, view_in_epoch
from tests.cases import SEGMENTATION, arguments, make_trainer

VIEWS = 3


def _rows(count: int = 4) -> datasets.Dataset:
    generator = np.random.default_rng(0)
    images = [Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)) for _ in range(count)]
    labels = [Image.fromarray(generator.integers(0, 3, (24, 32), dtype=np.uint8)) for _ in range(count)]
    return datasets.Dataset.from_dict({"image": images, "label": labels}).cast_column(
        "image", datasets.Image()
    )


def _data(stream: bool, views: int | None = VIEWS, **settings):
    rows = _rows()
    reader = DenseReader(
        target=ClassMap(num_labels=3), augmentation=DenseAugmentation((16, 16)), views=views, **settings
    )
    return StreamedRows(rows.to_iterable_dataset(), reader) if stream else StoredRows(rows, reader)


def _keys(rows) -> set[tuple[int, ...]]:
    return {tuple(row["sample_key"].tolist()) for row in rows}


def _epoch(data, epoch: int) -> list:
    data.set_epoch(epoch)
    return list(data) if isinstance(data, StreamedRows) else [data[index] for index in range(len(data))]


@pytest.mark.parametrize("stream", [False, True])
def test_a_pass_shows_every_view_once_and_the_next_one_the_same(stream: bool) -> None:
    """A view that came twice in a pass would be read twice from a cache, and another never."""
    data = _data(stream)
    passes = []
    for first in (0, VIEWS, 2 * VIEWS):
        epochs = [_epoch(data, first + place) for place in range(VIEWS)]
        shown = [[tuple(row["sample_key"].tolist()) for row in epoch] for epoch in epochs]
        assert all(len({epoch[row] for epoch in shown}) == VIEWS for row in range(4))
        passes.append(shown)
    for row in range(4):
        assert len({frozenset(epoch[row] for epoch in shown) for shown in passes}) == 1
    assert passes[0] != passes[1] or passes[1] != passes[2], "every pass has the same order"


def test_the_key_is_of_what_is_shown() -> None:
    """Two equal keys of different inputs would give one image the teacher's answer to another."""
    data = _data(False)
    rows = [row for epoch in range(VIEWS) for row in _epoch(data, epoch)]
    keys = {tuple(row["sample_key"].tolist()) for row in rows}
    assert len(keys) == len(rows)
    again = {
        tuple(row["sample_key"].tolist()) for epoch in range(VIEWS) for row in _epoch(_data(False), epoch)
    }
    assert again == keys
    other = {tuple(row["sample_key"].tolist()) for row in _epoch(_data(False, seed=1), 0)}
    assert not other & keys
    image = torch.rand(3, 4, 4)
    variants = [
        [image],
        [image + 1e-7],
        [image.half()],
        [image.flatten()],
        [image, torch.ones(4, 4, dtype=bool)],
    ]
    assert len({tuple(sample_key(tensors).tolist()) for tensors in variants}) == len(variants)


def test_without_views_nothing_changes() -> None:
    """Results of earlier versions must be reproduced."""
    row = _epoch(_data(False, views=None), 2)[0]
    assert "sample_key" not in row
    viewed = {
        tuple(r["pixel_values"].flatten().tolist()) for e in range(VIEWS) for r in _epoch(_data(False), e)[:1]
    }
    assert tuple(row["pixel_values"].flatten().tolist()) in viewed, "view 2 is the augmentation of epoch 2"


def test_the_order_differs_between_images_and_passes() -> None:
    """One order for all would show every image of a batch in the same rhythm."""
    orders = {
        tuple(view_in_epoch(8 * turn + place, 8, seed=0, identity=image) for place in range(8))
        for turn in range(4)
        for image in (b"0", b"1")
    }
    assert len(orders) == 8
    assert all(sorted(order) == list(range(8)) for order in orders)


def test_kept_views_are_what_would_be_made_again() -> None:
    """A memory of another view, or of one that was changed since, would train on it in silence."""
    plain, keeping = _data(False), _data(False)
    keeping.keep_views()
    for epoch in (0, 1, 2, 3, 7):
        for made, kept in zip(_epoch(plain, epoch), _epoch(keeping, epoch), strict=True):
            assert made.keys() == kept.keys()
            assert all(torch.equal(made[name], kept[name]) for name in made)
            kept["pixel_values"].zero_()


def test_a_kept_view_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the memory costs and saves nothing."""
    data, read = _data(False), []
    made = DenseReader.finish
    monkeypatch.setattr(
        DenseReader, "finish", lambda *args, **kwargs: read.append(1) or made(*args, **kwargs)
    )
    data.keep_views()
    for epoch in range(3 * VIEWS):
        _epoch(data, epoch)
    assert len(read) == VIEWS * len(data)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep_views": True}, "`keep_views` needs a fixed number of `augmentation_views`"),
        (
            {"keep_views": True, "augmentation_views": 2, "streaming": True},
            "`keep_views` needs a stored dataset",
        ),
    ],
)
def test_views_that_cannot_be_kept_are_refused(options: dict, said: str) -> None:
    """Without a fixed number each epoch would add a data set to the memory, and read none of it again."""
    with pytest.raises(ValueError, match=said):
        load_segmentation_data(normalization=None, max_train_samples=2, max_eval_samples=1, **options)


def test_kept_views_say_what_they_take_and_must_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the system ends the run when memory is full, an hour later and without a word."""
    data = _data(False)
    assert kept_views_note(data) == {}
    data.keep_views()
    assert kept_views_note(data)["kept views"].startswith("12 in memory, up to 0.00 GiB of ")
    monkeypatch.setattr(StoredRows, "__len__", lambda self: 10**12)
    with pytest.raises(ValueError, match=r"`keep_views` must fit into memory, got 3,000,000,000,000 views"):
        kept_views_note(data)


def test_workers_are_refused_beside_kept_views(tmp_path) -> None:
    """Each worker would fill a memory of its own, and lose it after an epoch: slower, and nobody told."""
    data = _data(False)
    data.keep_views()
    args = arguments(tmp_path, dataloader_num_workers=1)
    trainer = make_trainer(SEGMENTATION, args)
    trainer.train_dataset = data
    with pytest.raises(ValueError, match="`dataloader_num_workers` must be 0 beside `keep_views`"):
        trainer.get_train_dataloader()
