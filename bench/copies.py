"""How many near copies of protected pictures are found, and how many strangers are held back.

    python bench/copies.py [FOLDER] [--pictures 1000] [--strangers 4000] [--quick]

From a folder of real pictures: each of the first is copied in several ways, each of the others is a stranger to them.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance

from psllab.album.copies import BITS, NEAR, views
from psllab.album.pictures import decode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="data/tiny-imagenet-200/val/images")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--strangers", type=int, default=4000)
    parser.add_argument("--quick", action="store_true", help="four pictures and four strangers")
    options = parser.parse_args()
    if options.quick:
        options.pictures = options.strangers = 4
    if not Path(options.folder).is_dir():
        return print(f"passed over: there is no folder {options.folder}")
    files = sorted(path for path in Path(options.folder).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    files = files[: options.pictures + options.strangers]
    if len(files) <= options.pictures:
        sys.exit(f"{options.folder} holds {len(files)} pictures, and more than {options.pictures} are needed.")
    kept = [bits(views(thumbnail(path.read_bytes()))) for path in files[: options.pictures]]
    print("| copy | found (%) | bits that differ: median, most |\n|---|---|---|")
    for name, change in COPIES.items():
        rng = np.random.default_rng(0)
        apart = [
            closest(views_, bits(perceptual_of(changed(path, change, rng))))
            for path, views_ in zip(files, kept, strict=False)
        ]
        found = 100 * np.mean(np.array(apart) <= NEAR)
        print(f"| {name} | {found:.1f} | {np.median(apart):.0f}, {max(apart)} |")
    everything = np.concatenate(kept)
    least = pd.Series(
        [closest(everything, bits(perceptual_of(path.read_bytes()))) for path in files[options.pictures :]]
    )
    print(f"\nOf {len(least):,} strangers to {len(kept):,} pictures {sum(least <= NEAR)} are held back; "
          f"the closest of all differs in {least.min()} bits of {BITS}, the median in {least.median():.0f}; "
          f"{NEAR} is the most that counts as a copy.")  # fmt: skip


def changed(path: Path, change, rng: np.random.Generator) -> bytes:
    """A JPEG of a changed copy."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    made = change(picture, rng)
    picture, quality = made if isinstance(made, tuple) else (made, 90)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def cut(picture: Image.Image, left: float, top: float, right: float, low: float) -> Image.Image:
    """A picture that lacks these parts of its sides."""
    width, height = picture.size
    return picture.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - low) * height))
    )


def anywhere(picture: Image.Image, rng: np.random.Generator, part: float = 0.05) -> Image.Image:
    """Cut by a part in width and height, at sides that chance shares out."""
    left, top = rng.uniform(0, part, 2)
    return cut(picture, left, top, part - left, part - top)


def scaled(picture: Image.Image, by: float) -> Image.Image:
    """Resized."""
    return picture.resize((round(by * picture.width), round(by * picture.height)), Image.Resampling.LANCZOS)


COPIES = {
    "metadata stripped, saved again": lambda picture, rng: picture,
    "half the size": lambda picture, rng: scaled(picture, 0.5),
    "twice the size": lambda picture, rng: scaled(picture, 2),
    "JPEG of quality 50": lambda picture, rng: (picture, 50),
    "JPEG of quality 20": lambda picture, rng: (picture, 20),
    "5 % cut, the same at all sides": lambda picture, rng: cut(picture, 0.025, 0.025, 0.025, 0.025),
    "5 % cut, anywhere": anywhere,
    "5 % cut at one side": lambda picture, rng: cut(picture, *np.roll([0.05, 0, 0, 0], rng.integers(4))),
    "5 % cut anywhere, half the size, quality 50": lambda picture, rng: (scaled(anywhere(picture, rng), 0.5), 50),
    "10 % cut, anywhere": lambda picture, rng: anywhere(picture, rng, 0.1),
    "brighter by a fifth": lambda picture, rng: ImageEnhance.Brightness(picture).enhance(1.2),
    "grey": lambda picture, rng: picture.convert("L").convert("RGB"),
    "mirrored": lambda picture, rng: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned by a quarter": lambda picture, rng: picture.transpose(Image.Transpose.ROTATE_90),
}  # fmt: skip


def thumbnail(payload: bytes) -> bytes:
    """As an album keeps it."""
    return decode(payload, 32).thumbnail


def perceptual_of(payload: bytes) -> bytes:
    """As an album computes it."""
    return decode(payload, 32).hash


def bits(hashes: bytes) -> np.ndarray:
    """[N, 4] words."""
    return np.frombuffer(hashes, np.uint64).reshape(-1, BITS // 64)


def closest(kept: np.ndarray, asked: np.ndarray) -> int:
    """Bits that differ from the closest view."""
    return int(np.bitwise_count(kept ^ asked).sum(1).min())


if __name__ == "__main__":
    main()
