"""A picture in, a picture out."""

from __future__ import annotations

from typing import Annotated

import bentoml
from annotated_types import Ge, Le
from PIL import ImageOps
from PIL.Image import Image


@bentoml.service
class Thumbnail:
    """Makes pictures small."""

    @bentoml.api
    def shrink(self, image: Image, side: Annotated[int, Ge(16), Le(1024)] = 128) -> Image:
        """Return the picture with no side longer than `side` pixels, the right way up."""
        small = ImageOps.exif_transpose(image).convert("RGB")
        small.thumbnail((side, side))
        return small
