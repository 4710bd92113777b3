# ruff: noqa
# mypy: ignore-errors
"""A synthetic H&E-like section, defined at every integer pixel (x, y) of level 0.

`render` is pure: the same pixel always has the same colour whichever rectangle asks for it, so a test
can ask for the truth at any place (up to JPEG loss) without keeping the picture.
"""

import io

import numpy as np
from PIL import Image, ImageDraw

GLASS = np.array([243, 242, 244], np.float32)
CELL = 26  # one nucleus at most per CELL x CELL square


def _hash(ix, iy, salt):
    h = (
        ix.astype(np.uint32) * np.uint32(374761393)
        + iy.astype(np.uint32) * np.uint32(668265263)
        + np.uint32(salt * 2246822519 % 2**32)
    )
    h = (h ^ (h >> np.uint32(13))) * np.uint32(1274126177)
    return (h ^ (h >> np.uint32(16))).astype(np.float32) / np.float32(2**32)


def tissue(x, y, width, height):
    """Boolean mask: two lobes inside a width x height region, well clear of its edges."""
    u, v = x / width, y / height
    wave = 0.025 * np.sin(23 * u + 3) * np.cos(19 * v)
    big = ((u - 0.40) / 0.34) ** 2 + ((v - 0.45) / 0.36) ** 2
    small = ((u - 0.82) / 0.13) ** 2 + ((v - 0.78) / 0.15) ** 2
    return (np.minimum(big, small) + wave) < 1


def render(x0, y0, w, h, width, height, seed=0):
    """RGB uint8 (h, w, 3) of the rectangle at (x0, y0) of a width x height scanned region."""
    x = np.arange(x0, x0 + w, dtype=np.int64)[None, :]
    y = np.arange(y0, y0 + h, dtype=np.int64)[:, None]
    inside = tissue(x, y, width, height)
    out = np.broadcast_to(GLASS, (h, w, 3)).copy()
    if inside.any():
        fibre = 0.5 + 0.5 * np.sin(x / 17.0 + 2.5 * np.sin(y / 41.0)) * np.cos(y / 29.0)
        stroma = np.stack([226 - 18 * fibre, 148 + 34 * fibre, 188 + 16 * fibre], -1)
        ix, iy = np.broadcast_arrays(x // CELL, y // CELL)
        r = 4.0 + 3.5 * _hash(ix, iy, seed + 1)
        cx = (ix + 0.5) * CELL + (CELL - 17) * (_hash(ix, iy, seed + 2) - 0.5)
        cy = (iy + 0.5) * CELL + (CELL - 17) * (_hash(ix, iy, seed + 3) - 0.5)
        nucleus = ((x - cx) ** 2 + (y - cy) ** 2 < r * r) & (_hash(ix, iy, seed + 4) < 0.75)
        stroma[nucleus] = (84, 54, 132)
        out[inside] = stroma[inside]
    return np.clip(out + 0.5, 0, 255).astype(np.uint8)


def render_large(x0, y0, w, h, width, height, seed=0, block=512):
    """The same as `render`, block by block, so that its float arrays stay in the cache."""
    out = np.empty((h, w, 3), np.uint8)
    for y in range(0, h, block):
        for x in range(0, w, block):
            part = out[y : y + block, x : x + block]
            part[:] = render(x0 + x, y0 + y, part.shape[1], part.shape[0], width, height, seed)
    return out


def half(a):
    """Box-average by two; the sides must be even."""
    h, w = a.shape[:2]
    s = a.reshape(h // 2, 2, w // 2, 2, 3).astype(np.uint16).sum((1, 3))
    return ((s + 2) // 4).astype(np.uint8)


def jpeg(rgb, quality=90, **kw):
    buf = io.BytesIO()
    Image.fromarray(rgb).save(buf, "JPEG", quality=quality, **kw)
    return buf.getvalue()


def label(text, size=(400, 400)):
    im = Image.new("RGB", size, (250, 250, 245))
    d = ImageDraw.Draw(im)
    d.rectangle([8, 8, size[0] - 9, size[1] - 9], outline=(30, 30, 30), width=3)
    d.multiline_text((30, 60), text, fill=(0, 0, 0), font_size=34)
    return np.asarray(im)


def overview(thumb, size=(1200, 450), at=(0.35, 0.15, 0.6, 0.7)):
    """A picture of the whole glass: the label's place on the left, the section on the right."""
    im = Image.new("RGB", size, (235, 235, 235))
    ImageDraw.Draw(im).rectangle([0, 0, size[0] // 4, size[1]], fill=(250, 250, 245))
    w, h = int(at[2] * size[0]), int(at[3] * size[1])
    t = Image.fromarray(thumb)
    t.thumbnail((w, h))
    im.paste(t, (int(at[0] * size[0]), int(at[1] * size[1])))
    return np.asarray(im)


def thumbnail(width, height, longest=512, seed=0):
    """The region by nearest samples: rough, but it needs no pyramid."""
    step = max(1, -(-max(width, height) // longest))
    rows = [render(0, y, width, 1, width, height, seed)[:, ::step] for y in range(0, height, step)]
    return np.concatenate(rows)
