"""Image files become arrays of one size: how, for all sources that hold such files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.spec import Section

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SUFFIXES", "Pictures"]

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")  # no others: PIL runs a program on PostScript
_MOST_PIXELS = 80_000_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".tif", ".tiff")


class Pictures(Section):
    """How image files become inputs [channels, size, size]: the shorter side is scaled, and the middle cut out."""

    size: int = Field(ge=1, le=4096, description="height and width of an input, pixels")
    channels: Literal[1, 3] = Field(3, description="3: red, green, blue; 1: grey")
    mean: tuple[float, ...] = Field((0.5,), description="taken off each channel, of pixels from 0 to 1")
    std: tuple[float, ...] = Field((0.5,), description="each channel is divided by it")

    @model_validator(mode="after")
    def _one_number_for_each_channel(self) -> Pictures:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ValueError(f"{name}: give one number, or {self.channels}, one for each channel")
        if min(self.std) <= 0:
            raise ValueError(f"std: must be above 0, got {list(self.std)}")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one input."""
        return (self.channels, self.size, self.size)

    def decode(self, content: bytes, name: object) -> NDArray[np.float32]:
        """One input, [channels, size, size].

        Args:
            content: of an image file.
            name: of the file, for the message.

        Raises:
            SpecError: it is no image.
        """
        from PIL import Image, UnidentifiedImageError  # here: help and plans start without it

        try:
            with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
                self._refuse_large(opened.size, name)
                image = self._cut(opened.convert("RGB" if self.channels == 3 else "L"))
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
            raise SpecError(f"data: {name} is no image, or is cut off: {e}") from e
        pixels = np.asarray(image, np.float32).reshape(self.size, self.size, self.channels) / 255
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return np.asarray(((pixels - mean) / std).transpose(2, 0, 1), np.float32)

    def _refuse_large(self, size: tuple[int, int], name: object) -> None:
        """Refuse an image that has too many pixels, or, where it is thin, gets too many as it is scaled."""
        scale = max(1.0, self.size / min(size))
        if size[0] * scale * size[1] * scale > _MOST_PIXELS:
            wide, high = (round(n * scale) for n in size)
            raise SpecError(
                f"data: {name} has {size[0]} x {size[1]} pixels, and {wide} x {high} once its shorter side has "
                f"{self.size} or more; {_MOST_PIXELS:,} are allowed"
            )

    def _cut(self, image: Image) -> Image:
        width, height = image.size
        scale = self.size / min(width, height)
        wide, high = max(self.size, round(width * scale)), max(self.size, round(height * scale))
        if (wide, high) != (width, height):
            image = image.resize((wide, high))
        left, top = (wide - self.size) // 2, (high - self.size) // 2
        return image.crop((left, top, left + self.size, top + self.size))
