"""Any picture that Pillow reads, upright and as RGB of 8 bits."""

import warnings
from collections.abc import Callable
from functools import cache

from PIL import Image

from psllab.extend import depth
from psllab.extend.depth import Range

_TURNS = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""What sets a picture of each orientation upright."""


@cache
def formats() -> tuple[str, ...]:
    """What Pillow can read; the usual ones first, which it tries in this order: half the time of small pictures.

    Not PostScript, which is a program and would be run, whatever the file is called.
    """
    Image.init()
    usual = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]
    return tuple(sorted((kind for kind in Image.OPEN if kind != "EPS"), key=lambda kind: (kind not in usual, kind)))


def silence_pillow() -> None:
    """Ignore Pillow's warnings of odd files from now on: what cannot be read is reported by us.

    ``warnings.catch_warnings`` is not for threads: two that read at once can leave "ignore everything" behind.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _orientation(file: Image.Image) -> int:
    """How a picture was held, by its EXIF or XMP: 1 to 8; 1, as it lies, where they are strange."""
    try:
        held = file.getexif().get(0x0112, 1)
        return held if held in _TURNS else 1
    except Exception:
        return 1


def upright_size(file: Image.Image, lying: tuple[int, int] | None = None) -> tuple[int, int]:
    """Height and width of a picture, opened but not loaded, once it is upright; ``lying``: width and height as it is
    stored."""
    if file.format == "TIFF":  # Pillow may have turned the size already
        lying = file.tag_v2[256], file.tag_v2[257]  # type: ignore[attr-defined]
    width, height = lying or file.size
    return (width, height) if _orientation(file) > 4 else (height, width)


def as_rgb(file: Image.Image, among: Callable[[Range], Range] | None = None) -> Image.Image:
    """A picture, opened but not loaded, upright and as RGB of 8 bits; what shines through lies on white.

    Parameters
    ----------
    file : picture
    among : callable, optional
        For a picture of more than 8 bits: from the range of its own values to that of the set, by which it is brought
        to 8.
    """
    picture = file
    if depth.deep(file):
        values = depth.values(file)
        span = Range.of_values(depth.colours(file.mode, values))
        span = among(span) if among else span
        pixels = 255 - span.brought(values) if depth.white_is_low(file) else span.brought(values)
        if values.ndim == 3 and file.mode[-1] in "Aa":
            pixels[..., -1] = values[..., -1] >> 8
        mode = file.mode if values.ndim == 3 else "L"
        picture = Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        above = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    picture = picture.convert("RGB")
    turn = None if file.format == "TIFF" else _TURNS[_orientation(file)]  # Pillow turns those as it loads them
    return picture if turn is None else picture.transpose(turn)


def range_of(file: Image.Image) -> Range | None:
    """Of the values of a picture, opened but not loaded, if it has more than 8 bits."""
    return Range.of_values(depth.colours(file.mode, depth.values(file))) if depth.deep(file) else None
