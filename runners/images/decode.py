"""Bytes to pixels, safely: the only image decoder.

The first bytes of a file decide its format, not the client's label. The header is checked before decoding, and no file
of at most ``MAX_BYTES`` makes the process grow by more than 300 MB.
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
"""Functions by format that return whether alpha is a mask. In PNG, WebP and GIF it always is."""

TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transformations that turn a picture upright, by EXIF orientation."""


def decode(data: bytes, side: int | None = None) -> Image.Image:
    """Return the first frame as a loaded 8-bit RGB image, upright, with transparent pixels over white.

    With ``side``, a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as its shorter side
    keeps ``side`` pixels: the decoder then skips details that resizing would discard.

    It can block for seconds, so call it in a thread. Raises InvalidImage, UnsupportedMediaType and PayloadTooLarge.
    """
    if not data:
        raise InvalidImage("The image is empty.")
    check_bytes(len(data))
    try:
        return _decoded(data, side)
    except RunnerError:
        raise
    except Exception as error:  # on a corrupt file, a decoder may raise anything
        logger.info("image of %d bytes refused: %r", len(data), error)
    # Raised outside the handler, so that the error's context does not keep partial pixels alive.
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
        image.draft(None, (side, side))  # affects JPEG only
    image.load()
    return _upright(_rgb(image, file.kind), file.orientation)


def _opened(file: files.ImageFile) -> Image.Image:
    source = BytesIO(file.content)
    return _WebP(source) if file.kind == "WEBP" else Image.open(source, formats=[file.kind])


class _WebP(WebPImagePlugin.WebPImageFile):
    """Pillow's class, but it frees the canvases before and the copy after decoding: 12 bytes per pixel, not 16."""

    def load_prepare(self) -> None:
        del self._decoder
        super().load_prepare()

    def load_end(self) -> None:
        super().load_end()
        self.fp = None


def _rgb(image: Image.Image, kind: str) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.mode == "La":  # premultiplied, and convertible only to the plain form
        image = _converted(image, "LA")
    if image.mode in {"LA", "PA", "RGBA"} or "transparency" in image.info:
        image = _converted(image, "RGBA")
        return _over_white(image) if MASKED.get(kind, _always)(image) else _converted(image, "RGB")
    if image.mode not in {"1", "L", "P", "RGB", "CMYK", "YCbCr"}:
        raise UnsupportedMediaType(files.ACCEPTED)
    return _converted(image, "RGB")


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """Return the image in another mode and close the given one, so that three never exist at once."""
    if image.mode == mode and "transparency" not in image.info:
        return image
    converted = image.convert(mode)
    image.close()
    return converted


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit greys to 8 bits without clipping. The transparent grey becomes white."""
    scale = [(grey * 255 + 32767) // 65535 for grey in range(65536)]
    transparent = image.info.pop("transparency", None)
    if transparent is not None:
        scale[transparent] = 255
    wide = _converted(image, "I")
    narrow = wide.point(scale, "L")
    wide.close()
    return narrow


def _over_white(image: Image.Image) -> Image.Image:
    image.info.pop("transparency", None)
    clear = ImageChops.invert(image.getchannel("A"))
    flat = _converted(image, "RGB")
    flat.paste(WHITE, mask=clear)
    return flat


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turned = image.transpose(TURNS[orientation]) if orientation in TURNS else image.copy()
    image.close()
    turned.info.clear()
    return turned
