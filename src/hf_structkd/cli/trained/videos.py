"""Read and write the frames of videos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..extras import optional

SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})


def repaint(source: Path, target: Path, paint: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> int:
    """Write a video whose frames are those of another, painted; return how many there are.

    Args:
        source: The video to read.
        target: The file to write, H.264 in MP4.
        paint: Turns a frame (H, W, 3) into one (H', W', 3) of even sides, the same for every frame.

    Raises:
        UsageError: If PyAV is not installed.
        ValueError: If the file holds no video.
    """
    av = optional("av", extra="video", needed_for="a video")
    count = 0
    with _opened(av, source) as reading, av.open(str(target), "w") as writing:
        stream = reading.streams.video[0]
        written: Any = None
        for frame in reading.decode(stream):
            painted = paint(frame.to_ndarray(format="rgb24"))
            if written is None:
                written = writing.add_stream("libx264", rate=stream.average_rate or 25)
                written.height, written.width = painted.shape[:2]
                written.pix_fmt = "yuv420p"
            for packet in written.encode(av.VideoFrame.from_ndarray(painted, format="rgb24")):
                writing.mux(packet)
            count += 1
        for packet in written.encode() if written is not None else ():
            writing.mux(packet)
    return count


def _opened(av: Any, source: Path) -> Any:
    try:
        container = av.open(str(source))
    except av.FFmpegError as error:
        raise ValueError(f"{source} cannot be read as a video ({error}); convert or leave it out.") from error
    if not container.streams.video:
        container.close()
        raise ValueError(f"{source} holds no video; leave it out.")
    return container
