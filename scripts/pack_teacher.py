r"""Write a trained model with weights in float16, half as large, with its configuration and image processor.

    python scripts/pack_teacher.py --model outputs/scenes-teacher \
        --output_dir examples/teachers/scenes-segmentation

wrote the teachers of the demonstrations. `--teacher_dtype float32` lets such a teacher compute in float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from transformers import AutoConfig

from hf_structkd.models import load_image_processor
from hf_structkd.tasks import find_task


def main() -> None:
    """Load, round and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    args = parser.parse_args()
    task = find_task((AutoConfig.from_pretrained(args.model).architectures or ["none"])[0])
    task.auto_model.from_pretrained(args.model).half().save_pretrained(args.output_dir)
    processor = load_image_processor(args.model)
    if processor is not None:
        processor.save_pretrained(args.output_dir)


if __name__ == "__main__":
    main()
