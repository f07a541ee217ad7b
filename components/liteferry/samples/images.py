"""Encoded images -> arrays: PNG, JPEG and the other formats Pillow reads, with the same result in every process that reads rows.

Pillow, not TensorFlow: rows are also read in processes without TensorFlow, and nothing here depends on threads or devices, so
every runner gets the same bytes. JPEG is decoded with libjpeg-turbo's exact integer transform; EXIF rotation is not applied, as
TensorFlow does not apply it.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from liteferry.samples.formats.rows import Rows, mismatch
from liteferry.types import TensorSpec

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # channels -> Pillow's name
_MAX_PIXELS = 1 << 26  # decoded and scaled, about 20 bytes per value
# A file of some kilobytes may claim to be very large. Photographs and drawings take more than a byte for 100 pixels.
_SMALL_PIXELS, _MAX_RATIO = 1 << 24, 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageDecoding:
    """How a column of encoded images becomes an input.

    `size`: (height, width) to resize to, None keeps each image's own. `has_channel_axis`: (rows, height, width, channels), else
    (rows, height, width) of grey. `scale`, `offset`: values, 0 to 255, become value * scale + offset in float32; without either
    they stay uint8.
    """

    channels: int
    has_channel_axis: bool = True
    size: tuple[int, int] | None = None
    scale: float | None = None
    offset: float | None = None

    def row_shape(self) -> tuple[int | None, ...]:
        """The shape of one decoded image."""
        return (*(self.size or (None, None)), *([self.channels] if self.has_channel_axis else []))

    def dtype(self) -> str:
        return "uint8" if self.scale is None and self.offset is None else "float32"


def can_decode(channels: int) -> bool:
    """Whether images with this many channels are supported."""
    return channels in _MODES


def size_of(content: bytes) -> tuple[int, int]:
    """(height, width) of an encoded image, by its header alone. Raises what Pillow does for other bytes."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as opened:
        return int(opened.height), int(opened.width)


def resize_fix(tensor: TensorSpec) -> str:
    """The keys and the flags that resize images to an input's size."""
    height, width = [size or "N" for size in (tensor.shape or ())[1:3]]
    keys = f"`decode: image` and `size: [{height}, {width}]` in the samples entry"
    return f"to resize them say {keys} (--decode image --size {height},{width})"


def decode_images(rows: Rows, decoding: ImageDecoding, *, where: str, numbers: Sequence[int]) -> Rows:
    """Rows of encoded bytes, one image each, as rows of values.

    Args:
      where: file and column, for errors.
      numbers: of the rows in the whole set, for errors.

    Raises:
      SamplesError: SAMPLES_MISMATCH with the row that is not an image, or has more than 8 bits per channel.
    """
    images = []
    for number, content in zip(numbers, rows.values, strict=True):
        try:
            images.append(_decode(content, decoding))
        except Exception as error:  # Pillow's many decoders may raise anything for damaged files
            why = " ".join(str(error).split()) or type(error).__name__
            raise mismatch(f"{where}, row {number}: cannot be decoded as an image: {why}; correct or drop the row") from error
    shapes = np.array([image.shape for image in images], np.int64).reshape(len(images), len(decoding.row_shape()))
    values = np.concatenate([image.reshape(-1) for image in images]) if images else np.zeros(0, decoding.dtype())
    return Rows(values, shapes)


def _decode(content: bytes, decoding: ImageDecoding) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as opened:
        width, height = opened.size
        pixels = width * height
        if pixels > _MAX_PIXELS or (pixels > _SMALL_PIXELS and pixels > _MAX_RATIO * len(content)):
            raise ValueError(f"it claims {width} x {height} pixels, in {len(content):,} bytes")
        if opened.mode in ("I", "F") or opened.mode.startswith("I;"):
            raise ValueError(f"it has more than 8 bits a channel (mode {opened.mode}); store it as an array")
        image: Any = opened.convert(_MODES[decoding.channels])
    if decoding.size is not None and image.size != decoding.size[::-1]:
        image = image.resize(decoding.size[::-1], Image.Resampling.BILINEAR)
    values = np.asarray(image)
    if decoding.scale is not None or decoding.offset is not None:
        scale = 1.0 if decoding.scale is None else decoding.scale
        values = values.astype(np.float32) * np.float32(scale) + np.float32(decoding.offset or 0.0)
    return values[..., None] if decoding.has_channel_axis and decoding.channels == 1 else values
