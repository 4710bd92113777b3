# ruff: noqa
# mypy: ignore-errors
"""Write a synthetic MIRAX slide (OUT.mrxs + folder OUT/) that OpenSlide opens as vendor 'mirax'.

A MIRAX canvas is a grid of camera positions; each photo is cut into DIV x DIV square images, and a
position map gives each photo's real place in level-0 pixels.  Only photos that meet tissue are
stored, so most of the canvas is absent, and the scanned part lies far from (0, 0).  The truth
(bounds, levels, photos, what was broken) goes to stdout as JSON; `scene.render` gives the pixels.
"""

import argparse
import json
import os
import shutil
import struct
import uuid

import numpy as np

import scene

TILE, DIV = 256, 2
PHOTO = TILE * DIV
FILL = (255, 255, 255)
VERSION = b"01.02"
PAGE = 500  # records per index page; more than one page exercises the links


def options(argv=None):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("out", help="OUT.mrxs")
    p.add_argument("--width", type=int, default=6000, help="scanned region, level-0 pixels")
    p.add_argument("--height", type=int, default=4500)
    p.add_argument("--mpp", type=float, default=0.25)
    p.add_argument(
        "--offset-tiles",
        type=int,
        nargs=2,
        default=(60, 90),
        metavar=("X", "Y"),
        help="empty camera positions left of and above the region",
    )
    p.add_argument(
        "--pad-tiles",
        type=int,
        nargs=2,
        default=(45, 70),
        metavar=("X", "Y"),
        help="empty camera positions right of and below it",
    )
    p.add_argument("--levels", type=int, default=6)
    p.add_argument("--overlap", type=int, default=32, help="nominal overlap of photos, pixels")
    p.add_argument("--jitter", type=int, default=4, help="stage error of each photo, +- pixels")
    p.add_argument("--quality", type=int, default=90)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--files", type=int, default=4, help="data files for level 0 (plus Data0000)")
    p.add_argument("--slide-name", default="SYNTHETIC-1", help="goes into Slidedat.ini and label")
    p.add_argument(
        "--break",
        dest="broken",
        default="none",
        choices=["none", "missing", "missing-base", "truncated", "corrupt", "no-index"],
    )
    p.add_argument("--break-level", type=int, default=0, help="level of the corrupt tile")
    a = p.parse_args(argv)
    if not a.out.endswith(".mrxs") or a.overlap < 2 * a.jitter:
        p.error("OUT must end in .mrxs, and --overlap be at least twice --jitter (no gaps)")
    return a


class Data:
    """The DataNNNN.dat files; put() gives (offset, length, file number)."""

    def __init__(self, folder, count, slide_id):
        self.names = [f"Data{i:04d}.dat" for i in range(count)]
        self.files = [open(os.path.join(folder, n), "wb") for n in self.names]
        for i in range(count):
            self.put(i, VERSION + slide_id + b"%03d" % i)

    def put(self, number, blob):
        f = self.files[number]
        at = f.tell()
        f.write(blob)
        return at, len(blob), number


class Picture:
    """Given pixels as the scanned region, in place of the scene; white is glass and not stored."""

    def __init__(self, pixels):
        self.pixels = pixels

    def tissue(self, x, y, width, height):
        x, y = np.broadcast_arrays(x, y)
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        inside[inside] = (self.pixels[y[inside], x[inside]] < 235).any(-1)
        return inside

    def render(self, x0, y0, w, h, width, height, seed=0):
        out = np.full((h, w, 3), 255, np.uint8)
        top, left, bottom, right = max(y0, 0), max(x0, 0), min(y0 + h, height), min(x0 + w, width)
        if top < bottom and left < right:
            out[top - y0 : bottom - y0, left - x0 : right - x0] = self.pixels[
                top:bottom, left:right
            ]
        return out

    def thumbnail(self, width, height, longest=512, seed=0):
        step = max(1, -(-max(width, height) // longest))
        return np.ascontiguousarray(self.pixels[::step, ::step])


def plan(a, source):
    """Grid size, the origin of the region, photo positions (ny, nx, 2), and which photos exist."""
    step = PHOTO - a.overlap
    cols, rows = (max(1, -(-(n - a.overlap) // step)) for n in (a.width, a.height))
    ox, oy = a.offset_tiles
    nx, ny = ox + cols + a.pad_tiles[0], oy + rows + a.pad_tiles[1]
    grid = np.stack(np.meshgrid(np.arange(nx), np.arange(ny)), -1)
    rng = np.random.default_rng(a.seed)
    where = grid * step + rng.integers(-a.jitter, a.jitter + 1, grid.shape)
    origin = (ox * step, oy * step)  # canvas pixel of the region's (0, 0)
    have = np.zeros((ny, nx), bool)
    for j in range(oy, oy + rows):
        for i in range(ox, ox + cols):
            x, y = where[j, i] - origin
            v, u = np.ogrid[y : y + PHOTO : 16, x : x + PHOTO : 16]
            have[j, i] = source.tissue(u, v, a.width, a.height).any()
    return nx, ny, origin, np.maximum(where, 0), have


def images(a, source, nx, ny, origin, where, have, data):
    """Encode every stored image; a list of (image index, offset, length, file) for each level.

    Works block by block (one block = one image of the lowest level), so memory stays small.
    """
    across, top = nx * DIV, 2 ** (a.levels - 1)
    records = [[] for _ in range(a.levels)]
    block = max(1, top // DIV)  # photos per side of a block
    todo = sorted({(j // block, i // block) for j, i in zip(*np.nonzero(have))})
    for n, (bj, bi) in enumerate(todo):
        canvas = [{} for _ in range(a.levels)]
        for j in range(bj * block, min(ny, (bj + 1) * block)):
            for i in range(bi * block, min(nx, (bi + 1) * block)):
                if not have[j, i]:
                    continue
                x, y = where[j, i] - origin
                photo = source.render(x, y, PHOTO, PHOTO, a.width, a.height, a.seed)
                for k in range(a.levels):
                    if k:
                        photo = scene.half(photo)
                    scatter(canvas[k], photo, i * DIV, j * DIV, 2**k)
        for k in range(a.levels):
            number = 0 if k else 1 + n * a.files // len(todo)
            for (y, x), rgb in sorted(canvas[k].items()):
                spot = data.put(number, scene.jpeg(rgb, a.quality))
                records[k].append((y * across + x, *spot))
    return records


def scatter(canvas, photo, x, y, concat):
    """Put a photo, already reduced by `concat`, into the images of its level."""
    size = min(TILE, photo.shape[0])
    for v in range(0, photo.shape[0], size):
        for u in range(0, photo.shape[1], size):
            xx, yy = x + u * concat // TILE, y + v * concat // TILE
            key = (yy - yy % concat, xx - xx % concat)
            if key not in canvas:
                canvas[key] = np.full((TILE, TILE, 3), FILL, np.uint8)
            px, py = (xx % concat) * TILE // concat, (yy % concat) * TILE // concat
            canvas[key][py : py + size, px : px + size] = photo[v : v + size, u : u + size]


def index_file(path, slide_id, levels, extras):
    """Index.dat: a header, two root pointers, then tables, heads and linked pages."""
    out = bytearray(VERSION + slide_id + bytes(8))
    root = len(VERSION + slide_id)

    def link(slot, blob):
        """Append `blob`, make the pointer at `slot` show it, and say where it begins."""
        at = len(out)
        struct.pack_into("<i", out, slot, at)
        out.extend(blob)
        return at

    def table(slot, count):
        return range(at := link(slot, bytes(4 * count)), at + 4 * count, 4)

    # for each level: head (0, first page), then pages of (count, next page, records)
    for slot, records in zip(table(root, len(levels)), levels):
        slot = link(slot, bytes(8)) + 4
        for i in range(0, len(records), PAGE):
            page = records[i : i + PAGE]
            slot = (
                link(
                    slot,
                    struct.pack("<ii", len(page), 0)
                    + b"".join(struct.pack("<iiii", *map(int, r)) for r in page),
                )
                + 4
            )
    for slot, (at, size, number) in zip(table(root + 4, len(extras)), extras):
        link(link(slot, bytes(8)) + 4, struct.pack("<7i", 1, 0, 0, 0, at, size, number))
    with open(path, "wb") as f:
        f.write(out)


EXTRAS = [
    ("VIMSLIDE_POSITION_BUFFER", [("default", "POSITIONS", {})]),
    (
        "Scan data layer",
        [
            ("ScanDataLayer_SlideThumbnail", "MACRO", {"THUMBNAIL_IMAGE_TYPE": "JPEG"}),
            ("ScanDataLayer_SlideBarcode", "LABEL", {"BARCODE_IMAGE_TYPE": "JPEG"}),
            ("ScanDataLayer_SlidePreview", "PREVIEW", {"PREVIEW_IMAGE_TYPE": "JPEG"}),
        ],
    ),
]


def slidedat(a, slide_id, nx, ny, names):
    groups = {
        "GENERAL": {
            "SLIDE_VERSION": "01.02",
            "SLIDE_ID": slide_id.decode(),
            "SLIDE_NAME": a.slide_name,
            "SLIDE_TYPE": "SLIDE_TYPE_BRIGHTFIELD",
            "IMAGENUMBER_X": nx * DIV,
            "IMAGENUMBER_Y": ny * DIV,
            "OBJECTIVE_MAGNIFICATION": round(10 / a.mpp),
            "CameraImageDivisionsPerSide": DIV,
        }
    }
    hier = groups["HIERARCHICAL"] = {
        "HIER_COUNT": 1,
        "NONHIER_COUNT": len(EXTRAS),
        "INDEXFILE": "Index.dat",
        "HIER_0_NAME": "Slide zoom level",
        "HIER_0_COUNT": a.levels,
    }
    for k in range(a.levels):
        hier[f"HIER_0_VAL_{k}"] = f"ZoomLevel_{k}"
        hier[f"HIER_0_VAL_{k}_SECTION"] = f"LAYER_0_LEVEL_{k}_SECTION"
        groups[f"LAYER_0_LEVEL_{k}_SECTION"] = {
            "OVERLAP_X": a.overlap / 2**k,
            "OVERLAP_Y": a.overlap / 2**k,
            "MICROMETER_PER_PIXEL_X": a.mpp * 2**k,
            "MICROMETER_PER_PIXEL_Y": a.mpp * 2**k,
            "IMAGE_FORMAT": "JPEG",
            "IMAGE_FILL_COLOR_BGR": 0xFFFFFF,
            "DIGITIZER_WIDTH": TILE,
            "DIGITIZER_HEIGHT": TILE,
            "IMAGE_CONCAT_FACTOR": 1 if k else 0,
        }
    for n, (name, values) in enumerate(EXTRAS):
        hier[f"NONHIER_{n}_NAME"], hier[f"NONHIER_{n}_COUNT"] = name, len(values)
        for m, (value, section, keys) in enumerate(values):
            hier[f"NONHIER_{n}_VAL_{m}"] = value
            hier[f"NONHIER_{n}_VAL_{m}_SECTION"] = f"NONHIER_{section}_SECTION"
            groups[f"NONHIER_{section}_SECTION"] = {"VERSION": 1, **keys}
    groups["DATAFILE"] = {"FILE_COUNT": len(names), **{f"FILE_{i}": n for i, n in enumerate(names)}}
    text = "".join(
        f"[{g}]\r\n" + "".join(f"{k} = {v}\r\n" for k, v in keys.items())
        for g, keys in groups.items()
    )
    return text.encode("utf-8-sig")  # real ones begin with a byte-order mark


def damage(a, folder, records):
    """Break the finished slide as asked; what was done, in words a test can use."""
    if a.broken == "none":
        return None
    if a.broken == "corrupt":
        index, at, size, number = records[a.break_level][len(records[a.break_level]) // 2]
        name = f"Data{number:04d}.dat"
        with open(os.path.join(folder, name), "r+b") as f:
            f.seek(at)
            f.write(b"\xa5" * size)
        return {"file": name, "offset": at, "level": a.break_level, "image_index": int(index)}
    name = {"missing-base": "Data0000.dat", "no-index": "Index.dat"}.get(
        a.broken, f"Data{min(2, a.files):04d}.dat"
    )
    path = os.path.join(folder, name)
    if a.broken == "truncated":
        os.truncate(path, os.path.getsize(path) // 2)
    else:
        os.remove(path)
    return {"file": name}


def write(argv=None, pixels=None):
    """Write the slide that the arguments describe; its truth, which tests assert on.

    pixels: uint8 (height, width, 3) to use as the scanned region instead of the scene.
    """
    a = options(argv)
    source = scene
    if pixels is not None:
        source, (a.height, a.width) = Picture(pixels), pixels.shape[:2]
    folder = a.out[: -len(".mrxs")]
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    slide_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{a.slide_name}/{a.seed}").hex.upper().encode()
    nx, ny, origin, where, have = plan(a, source)
    data = Data(folder, a.files + 1, slide_id)
    positions = b"".join(
        struct.pack("<Bii", int(have[j, i]), *where[j, i]) for j in range(ny) for i in range(nx)
    )
    thumb = source.thumbnail(a.width, a.height, 512, a.seed)
    pictures = map(scene.jpeg, (scene.overview(thumb), scene.label(a.slide_name), thumb))
    extras = [data.put(0, b) for b in (positions, *pictures)]
    records = images(a, source, nx, ny, origin, where, have, data)
    for f in data.files:
        f.close()
    index_file(os.path.join(folder, "Index.dat"), slide_id, records, extras)
    with open(os.path.join(folder, "Slidedat.ini"), "wb") as f:
        f.write(slidedat(a, slide_id, nx, ny, data.names))
    with open(a.out, "wb") as f:  # the .mrxs itself is only a small picture
        f.write(scene.jpeg(thumb))
    spots = where[have]
    (x0, y0), (x1, y1) = spots.min(0), spots.max(0) + PHOTO
    inside = ((where >= (x0, y0)) & (where <= (x1 - PHOTO, y1 - PHOTO))).all(-1)
    size = [n * PHOTO - (n - 1) * a.overlap for n in (nx, ny)]
    return {
        "mpp": a.mpp,
        "levels": [[s >> k for s in size] for k in range(a.levels)],
        "bounds": [int(v) for v in (x0, y0, x1 - x0, y1 - y0)],
        "origin": list(origin),
        "region": [a.width, a.height],
        "seed": a.seed,
        "photo": PHOTO,
        "photos_present": spots.tolist(),
        "photos_absent_in_bounds": where[inside & ~have].tolist(),
        "damage": damage(a, folder, records),
    }


def main(argv=None):
    print(json.dumps(write(argv)))


if __name__ == "__main__":
    main()
