r"""Write a segmentation dataset in which a teacher's classes are the labels of the images that have none.

    python scripts/pseudo_labels.py --teacher ../shared/teachers/camvid-mobilenetv2 --image_size 360 480 \
        --dataset_name ../shared/data/camvid --labeled_split 'train[0:92]' --unlabeled_split 'train[92:]' \
        --output_dir outputs/camvid-pseudo

A student that is trained on it alone shows what plain training on a teacher's answers brings, with which the
terms of distillation are compared. The teacher's classes must have the dataset's numbers: it is compared with
the labels that there are, and refused if it agrees with less than half of them. The split `validation` is
copied, and the classes have the teacher's names.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, DatasetDict, Features, Image, concatenate_datasets, load_dataset
from PIL import Image as Pictures

from hf_structkd.cli.trained.loading import load_trained
from hf_structkd.cli.trained.showing import Eye
from hf_structkd.tasks import SegmentationTask

FEATURES = Features({"image": Image(), "label": Image()})


class Teacher:
    """A segmentation model that is shown images of one size.

    Raises:
        ValueError: If it has more classes than a picture of 8 bits can hold beside the ignored 255.
    """

    def __init__(self, name: str, image_size: tuple[int, int]) -> None:
        """Load the model."""
        (self.trained,) = load_trained([name], "cpu")
        if self.trained.config.num_labels > 255:
            raise ValueError(
                f"`teacher` must have at most 255 classes, got {self.trained.config.num_labels}."
            )
        self._eye, self._task = Eye(self.trained, image_size), SegmentationTask(self.trained.config, None)

    def classes(self, image: Pictures.Image) -> Pictures.Image:
        """Return the class of each pixel, in the size of the file."""
        logits = self._task.prediction(self._eye(np.asarray(image.convert("RGB"))).output)
        size = (image.height, image.width)
        full = torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)
        return Pictures.fromarray(full[0].argmax(dim=0).numpy().astype(np.uint8))


def with_answers(rows: Dataset, teacher: Teacher) -> Dataset:
    """Return the images with the teacher's classes as their labels."""
    labels = [teacher.classes(row["image"]) for row in rows]
    return Dataset.from_dict({"image": list(rows["image"]), "label": labels}, features=FEATURES)


def agreement(rows: Dataset, teacher: Teacher, ignored: int = 255) -> float:
    """Return the share of the labelled pixels that the teacher gives the class of their label.

    Raises:
        ValueError: If it is below one half, as where the classes are numbered in another way.
    """
    same = known = 0
    for row in rows:
        label, answer = np.asarray(row["label"]), np.asarray(teacher.classes(row["image"]))
        known += np.count_nonzero(label != ignored)
        same += np.count_nonzero((label == answer) & (label != ignored))
    share = same / max(known, 1)
    if share < 0.5:
        raise ValueError(
            f"`teacher` must number the classes as the dataset does, got one that agrees with {share:.0%} of "
            "its labelled pixels; take a teacher of the same classes."
        )
    return share


def main() -> None:
    """Load, answer and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--teacher", "--dataset_name", "--labeled_split", "--unlabeled_split"):
        parser.add_argument(name, required=True)
    parser.add_argument("--image_size", type=int, nargs=2, required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    args = parser.parse_args()
    columns = ["image", "label"]
    labeled, unlabeled, validation = (
        load_dataset(args.dataset_name, split=split).select_columns(columns)
        for split in (args.labeled_split, args.unlabeled_split, "validation")
    )
    teacher = Teacher(args.teacher, tuple(args.image_size))
    share = agreement(labeled, teacher)
    answered = with_answers(unlabeled, teacher)
    train = concatenate_datasets([labeled.cast(FEATURES), answered])
    for split, rows in DatasetDict(train=train, validation=validation).items():
        (args.output_dir / "data").mkdir(parents=True, exist_ok=True)
        rows.to_parquet(args.output_dir / "data" / f"{split}-00000-of-00001.parquet")
    (args.output_dir / "id2label.json").write_text(json.dumps(teacher.trained.config.id2label))
    print(
        f"{len(labeled)} rows keep their labels, with {share:.1%} of which {args.teacher} agrees; "
        f"{len(answered)} have its classes."
    )


if __name__ == "__main__":
    main()
