"""Bytes to pixels, safely: the only decoder.

A file's own first bytes decide what it is, whatever the client calls it. Its header is judged before anything is
decoded, and no file of at most ``MAX_BYTES`` makes the process grow by more than 300 MB.
"""

from __future__ import annotations

import logging
from io import BytesIO
from typing import Final

from PIL import Image, ImageChops, WebPImagePlugin

from runners.errors import InvalidImage, RunnerError, UnsupportedMediaType
from runners.images import alpha, files, rasters
from runners.limits import MAX_BYTES, MAX_PIXELS, MAX_SIDE, check_bytes, check_memory

__all__ = ["MAX_BYTES", "MAX_PIXELS", "MAX_SIDE", "decode"]

logger = logging.getLogger(__name__)

WHITE: Final = (255, 255, 255)


def _always(image: Image.Image) -> bool:
    return True


MASKED: Final = {"TIFF": alpha.of_tiff, "BMP": alpha.of_bmp}
"""By format, whether a picture's alpha is a mask. In PNG, WebP and GIF it always is."""

TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, for each value of EXIF's orientation."""


def decode(data: bytes, side: int | None = None) -> Image.Image:
    """The first frame as 8-bit RGB, upright, over white where it is transparent; loaded, and independent of the file.

    Where ``side`` is given, a JPEG may come at a half, a quarter or an eighth of its size, as long as its shorter side
    keeps ``side`` pixels: its decoder then leaves out what resizing would throw away.

    Blocks for up to seconds: to be called off the event loop. Raises InvalidImage, UnsupportedMediaType and
    PayloadTooLarge.
    """
    if not data:
        raise InvalidImage("The image is empty.")
    check_bytes(len(data))
    try:
        return _decoded(data, side)
    except RunnerError:
        raise
    except Exception as error:  # a decoder meets a corrupt file with whatever its code happens to raise
        logger.info("image of %d bytes refused: %r", len(data), error)
    # Raised out here, the error does not keep the half-made pixels alive through its context.
    raise InvalidImage("The image is corrupt or ends too early.")


def _decoded(data: bytes, side: int | None) -> Image.Image:
    file = files.read(data)
    check_memory(4 * file.width * file.height + file.decoding + 2 * len(data))
    if file.raster is not None:
        return _upright(rasters.read(file.raster), file.orientation)
    image = _opened(file)
    if image.size != (file.width, file.height):
        raise ValueError("two readers of one header disagree")
    if side is not None:
        image.draft(None, (side, side))  # changes JPEG alone
    image.load()
    return _upright(_rgb(image, file.kind), file.orientation)


def _opened(file: files.ImageFile) -> Image.Image:
    source = BytesIO(file.content)
    return _WebP(source) if file.kind == "WEBP" else Image.open(source, formats=[file.kind])


class _WebP(WebPImagePlugin.WebPImageFile):
    """Pillow's, but the two canvases go before the pixels are made, and their copy after: 12 bytes a pixel, not 16."""

    def load_prepare(self) -> None:
        del self._decoder
        super().load_prepare()

    def load_end(self) -> None:
        super().load_end()
        self.fp = None


def _rgb(image: Image.Image, kind: str) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.mode == "La":  # premultiplied, and convertible to its plain form alone
        image = _become(image, "LA")
    if image.mode in {"LA", "PA", "RGBA"} or "transparency" in image.info:
        image = _become(image, "RGBA")
        return _over_white(image) if MASKED.get(kind, _always)(image) else _become(image, "RGB")
    if image.mode not in {"1", "L", "P", "RGB", "CMYK", "YCbCr"}:
        raise UnsupportedMediaType(files.ACCEPTED)
    return _become(image, "RGB")


def _become(image: Image.Image, mode: str) -> Image.Image:
    """The image in another mode; the given one is closed, so that there are never three of them."""
    if image.mode == mode and "transparency" not in image.info:
        return image
    converted = image.convert(mode)
    image.close()
    return converted


def _eight_bits(image: Image.Image) -> Image.Image:
    """Greys of 16 bits scaled to 8, not clipped. A transparent grey becomes white, as it would over white."""
    scale = [(grey * 255 + 32767) // 65535 for grey in range(65536)]
    transparent = image.info.pop("transparency", None)
    if transparent is not None:
        scale[transparent] = 255
    wide = _become(image, "I")
    narrow = wide.point(scale, "L")
    wide.close()
    return narrow


def _over_white(image: Image.Image) -> Image.Image:
    image.info.pop("transparency", None)
    clear = ImageChops.invert(image.getchannel("A"))
    flat = _become(image, "RGB")
    flat.paste(WHITE, mask=clear)
    return flat


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turned = image.transpose(TURNS[orientation]) if orientation in TURNS else image.copy()
    image.close()
    turned.info.clear()
    return turned
