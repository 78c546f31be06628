"""Settings that contradict themselves: a file that says two things, a size that no run survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_structkd import StructKDTrainingArguments
from hf_structkd.cli.script_args import ModelArguments, parse_arguments
from hf_structkd.data import SegmentationOptions

TYPES = (ModelArguments, StructKDTrainingArguments)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.yaml", "seed: 1\nmax_steps: 2\nseed: 2\n", r"^a\.yaml sets 'seed' twice; keep one of the two\.$"),
        ("a.json", '{"seed": 1, "seed": 1}', r"^a\.json sets 'seed' twice; keep one of the two\.$"),
        (
            "a.yaml",
            "student_model_name_or_path: [a]\n",
            r"'student_model_name_or_path' to \['a'\], where one",
        ),
        ("a.yaml", "output_dir: [a, b]\n", r"'output_dir' to \['a', 'b'\], where one value belongs"),
        ("a.yaml", "teacher_image_size: [100000, 64]\n", r"`teacher_image_size` .* 16,384 .*\[100000, 64\]"),
    ],
)
def test_a_file_that_no_run_can_follow_gets_one_sentence(
    name: str, text: str, sentence: str, tmp_path: Path
) -> None:
    """The last of two values won in silence, and a list reached code that takes a text."""
    file = tmp_path / name
    file.write_text(text)
    flags = [] if "output_dir" in text else ["--output_dir", str(tmp_path)]
    with pytest.raises(ValueError, match=sentence):
        parse_arguments(*TYPES, argv=[str(file), *flags])


def test_options_of_trainer_that_take_a_list_still_do(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("report_to: [none]\nstudent_feature: [a, b]\n<<: {seed: 3}\n")
    _, args = parse_arguments(*TYPES, argv=[str(file), "--output_dir", str(tmp_path)])
    assert (args.report_to, args.student_feature, args.seed) == ([], ["a", "b"], 3)


@pytest.mark.parametrize("size", [[100000, 64], [0, 64], [64, -1]])
def test_an_absurd_image_size_is_refused_before_anything_is_read(size: list[int]) -> None:
    """A side of 100,000 pixels ended the machine's memory, not the program, with its first image."""
    with pytest.raises(ValueError, match=rf"`image_size` must be .*\({size[0]}, {size[1]}\)"):
        SegmentationOptions(image_size=size)
