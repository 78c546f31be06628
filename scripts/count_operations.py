"""Count the operations of torch in a training step: what a GPU that waits for its launches pays for.

    python scripts/count_operations.py --pair rt_detr --side 160

A GPU computes small maps faster than a processor can tell it to. Then a step costs its number of operations
and not their size, so that its ratio to the floor can be counted on a CPU, with small images.
Views, which launch nothing, are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections import Counter

from gpu_check import distiller, floor_of, settings_of
from large_pairs import LARGE
from step_operations import operations_of
from transformers.utils import logging


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pair", choices=list(LARGE), required=True)
    parser.add_argument("--side", type=int, required=True, help="Height and width of the images.")
    args = parser.parse_args()
    logging.set_verbosity_error()
    pair = dataclasses.replace(LARGE[args.pair], side=args.side)
    with tempfile.TemporaryDirectory() as folder:
        extra = {**settings_of("", 2, 2, "cpu"), "output_dir": folder}
        ours = distiller(pair, folder, **extra)
        floor, full = operations_of(floor_of(ours, pair, extra)).counts, operations_of(ours).counts
    print(
        f"{pair.title}, counted at {args.side} x {args.side}: {floor.total()} operations in the floor,",
        end=" ",
    )
    print(f"{full.total()} with all terms, ratio {full.total() / floor.total():.2f}; most added:")
    added = Counter({name: number - floor[name] for name, number in full.items()})
    print(", ".join(f"{name} {number}" for name, number in added.most_common(8)))


if __name__ == "__main__":
    main()
