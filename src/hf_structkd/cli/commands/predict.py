"""`structkd predict`: paint what a trained model predicts over images, folders and videos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from tqdm import tqdm

from ...data._files import IMAGES as IMAGE_SUFFIXES
from ...data.decoding import decode_image
from ...data.options import option, pair_of
from ...report.overlays import with_legend
from ...tasks.uses import Use, use_of
from ..endings import UsageError
from ..model_words import split_words
from ..script_args import parse_arguments
from ..trained.loading import load_trained
from ..trained.showing import Eye
from ..trained.videos import SUFFIXES as VIDEO_SUFFIXES
from ..trained.videos import repaint

NAME = "predict"
SUMMARY = "paint what a trained model predicts over images, folders of images, and videos"

_EXAMPLES = """  structkd predict photo.jpg --model outputs/street
  structkd predict photos/ drive.mp4 --model outputs/street --output_dir outputs/painted"""


@dataclass(kw_only=True)
class PredictArguments:
    """What paints, and where the pictures go."""

    help_group: ClassVar[str] = "pictures"

    model: str | None = option(None, "Hub id or folder of the trained model.")
    trust_remote_code: bool = option(
        False, "Run code that lies beside the model, as a wrapped network has it."
    )
    output_dir: str = option("outputs/predictions", "Folder of the painted pictures and videos.")
    score_threshold: float = option(0.3, "Lowest score of a detection that is drawn.")
    image_size: list[int] = option([], "Height and width that the model is shown; unset asks its processor.")
    device: str | None = option(None, "For example 'cpu' or 'cuda:1'; unset is a GPU where there is one.")

    def __post_init__(self) -> None:
        """Check the threshold."""
        if not 0 <= self.score_threshold <= 1:
            raise ValueError(
                f"`score_threshold` must lie in [0, 1], got {self.score_threshold}; 0.3 is usual."
            )


def run(argv: Sequence[str]) -> None:
    """Paint every file that is named.

    Raises:
        UsageError: If no file or no model is named.
        ValueError: If a file is neither an image nor a video, or cannot be read.
    """
    words, rest = split_words(argv)
    program = f"structkd {NAME}"
    usage = f"{program} IMAGE|FOLDER|VIDEO... --model MODEL [--option value ...]"
    (settings,) = parse_arguments(PredictArguments, argv=rest, prog=program, usage=usage, epilog=_EXAMPLES)
    if settings.model is None:
        raise UsageError("--model is missing: name the Hub id or the folder of a trained model.")
    files = list(_files(words))
    (trained,) = load_trained([settings.model], settings.device, settings.trust_remote_code)
    eye = Eye(trained, pair_of("image_size", settings.image_size) if settings.image_size else None)
    painter = _Painter(eye, use_of(trained.kind.name, trained.config), settings.score_threshold)
    folder = Path(settings.output_dir)
    for source, name in tqdm(files, disable=len(files) < 2, unit="file"):
        target = (folder / name).with_suffix(".mp4" if _is_video(source) else ".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        if _is_video(source):
            repaint(source, target, lambda frame: painter(frame, of_video=True))
        else:
            image = decode_image(str(source), where=str(source))
            pixels = np.ascontiguousarray((image * 255).round().byte().permute(1, 2, 0).numpy())
            PIL.Image.fromarray(painter(pixels, of_video=False)).save(target)
    print(f"{len(files)} painted file{'' if len(files) == 1 else 's'} in {folder}.")  # noqa: T201


class _Painter:
    """Paints a picture (H, W, 3)."""

    def __init__(self, eye: Eye, use: Use, score_threshold: float) -> None:
        self._eye, self._use, self._score_threshold = eye, use, score_threshold

    def __call__(self, image: NDArray[np.uint8], *, of_video: bool) -> NDArray[np.uint8]:
        batch, output = self._eye(image)
        (overlay,) = self._use.overlays(output, batch, [image], score_threshold=self._score_threshold)
        return with_legend(overlay, of_video=of_video)


def _files(words: Iterable[str]) -> Iterator[tuple[Path, Path]]:
    """Yield each file, and its path below the folder of the painted ones."""
    found: dict[Path, Path] = {}
    for word in words:
        path = Path(word)
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise ValueError(f"the folder {path} holds no image; name one with images inside.")
            found |= {one: one.relative_to(path) for one in inside}
        elif not path.is_file():
            raise FileNotFoundError(f"there is no file or folder {path}; correct the path.")
        elif path.suffix.lower() not in IMAGE_SUFFIXES and not _is_video(path):
            raise ValueError(f"{path} is neither an image nor a video by its name; convert or rename it.")
        else:
            found[path] = Path(path.name)
    if not found:
        raise UsageError(f"no picture is named; write images, folders or videos behind `structkd {NAME}`.")
    _refuse_one_name(found)
    yield from found.items()


def _refuse_one_name(found: dict[Path, Path]) -> None:
    """Raise `ValueError` if two files would be painted into one."""
    taken: dict[Path, Path] = {}
    for source, name in found.items():
        target = name.with_suffix("")
        if target in taken:
            raise ValueError(
                f"{taken[target]} and {source} would be painted into one file; rename one of the two."
            )
        taken[target] = source


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES
