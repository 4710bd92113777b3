# ruff: noqa
# mypy: ignore-errors
"""Write a synthetic Hamamatsu NDPI slide that OpenSlide opens as vendor 'hamamatsu'.

An NDPI is a classic TIFF with 64-bit offsets: each level is one JPEG with restart markers, whose
places are listed in a private tag.  Levels are a factor 4 apart; sides are rounded up to 512.  The
JPEG is made strip by strip, so it may be wider than the 65500 pixels a JPEG header can say.

The truth goes to stdout as JSON; `scene.render` gives the pixels.
"""

import argparse
import json
import os
import struct

import numpy as np

import scene

STRIP = 512  # rows encoded at a time, and pixels per restart interval
SHORT, LONG, RATIONAL, SLONG, FLOAT, ASCII = 3, 4, 5, 9, 11, 2
PACK = {SHORT: "H", LONG: "I", RATIONAL: "II", SLONG: "i", FLOAT: "f"}


def options(argv=None):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("out", help="OUT.ndpi")
    p.add_argument("--width", type=int, default=6000)
    p.add_argument("--height", type=int, default=4500)
    p.add_argument("--mpp", type=float, default=0.23)
    p.add_argument("--levels", type=int, default=3, choices=[1, 2, 3, 4])
    p.add_argument("--objective", type=float, default=40)
    p.add_argument("--quality", type=int, default=85)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--reference", default="SYNTHETIC-1", help="barcode text: may be identifying")
    p.add_argument("--no-mcu-starts", action="store_true", help="leave the restart table out")
    p.add_argument("--corrupt", action="store_true", help="spoil one restart interval of level 0")
    p.add_argument("--truncate", action="store_true", help="cut the file in half")
    return p.parse_args(argv)


class Level:
    """One growing JPEG: `header` once, then entropy-coded pieces parted by restart markers."""

    def __init__(self, width, height, tile, quality):
        self.width, self.height, self.tile, self.quality = width, height, tile, quality
        self.pieces, self.header = [], None

    def add(self, rgb):
        """A strip; cut across too if a JPEG cannot be so wide, then put in reading order."""
        chunk = 65000 // self.tile * self.tile
        parts = [
            self.encode(np.ascontiguousarray(rgb[:, x : x + chunk]))
            for x in range(0, self.width, chunk)
        ]
        for row in range(-(-rgb.shape[0] // 8)):
            for x, part in zip(range(0, self.width, chunk), parts):
                n = (min(chunk, self.width - x)) // self.tile
                self.pieces += part[row * n : (row + 1) * n]

    def encode(self, rgb):
        blob = scene.jpeg(
            rgb, self.quality, subsampling="4:4:4", restart_marker_blocks=self.tile // 8
        )
        sos = blob.index(b"\xff\xda")
        start = sos + 2 + int.from_bytes(blob[sos + 2 : sos + 4], "big")
        if self.header is None:
            head = bytearray(blob[:start])
            size = [n if n <= 65500 else 0 for n in (self.height, self.width)]
            struct.pack_into(">HH", head, head.index(b"\xff\xc0") + 5, *size)
            self.header = bytes(head)
        body = np.frombuffer(blob, np.uint8)[start:-2]
        cut = np.nonzero((body[:-1] == 0xFF) & (body[1:] >= 0xD0) & (body[1:] <= 0xD7))[0]
        return [body[b:e].tobytes() for b, e in zip([0, *(cut + 2)], [*cut, len(body)])]

    def finish(self):
        """The whole JPEG, and where in it each piece starts."""
        out, starts = bytearray(self.header), []
        for n, piece in enumerate(self.pieces):
            if n:
                out += bytes((0xFF, 0xD0 + (n - 1) % 8))
            starts.append(len(out))
            out += piece
        return bytes(out + b"\xff\xd9"), starts


def pyramid(a):
    unit = max(STRIP, 8 * 4 ** (a.levels - 1))
    width, height = (-(-n // unit) * unit for n in (a.width, a.height))
    levels = []
    for k in range(a.levels):
        w, h = width >> 2 * k, height >> 2 * k
        levels.append(Level(w, h, STRIP if w % STRIP == 0 else w, a.quality))
    band = max(STRIP, 8 * 4 ** (a.levels - 1))
    for top in range(0, height, band):
        rgb = scene.render_large(0, top, width, band, a.width, a.height, a.seed)
        for k, level in enumerate(levels):
            if k:
                rgb = scene.half(scene.half(rgb))
            level.add(rgb)
    return levels


class Tiff:
    """The few parts of NDPI's own TIFF dialect that are needed."""

    def __init__(self, path):
        self.f = open(path, "wb")
        self.f.write(b"II*\0" + bytes(8))
        self.next = 4  # where the offset of the next directory goes

    def put(self, blob):
        self.f.seek(0, os.SEEK_END)
        self.f.write(b"\0" * (self.f.tell() % 2))
        at = self.f.tell()
        self.f.write(blob)
        return at

    def directory(self, tags):
        entries, tails = b"", b""
        for tag, (kind, values) in sorted(tags.items()):
            if kind == ASCII:
                blob, count = values.encode() + b"\0", len(values) + 1
            else:
                count = len(values) // len(PACK[kind])
                blob = struct.pack("<" + PACK[kind] * count, *values)
            if len(blob) > 4 or kind == ASCII:  # text is never inline in NDPI
                blob = struct.pack("<Q", self.put(blob))
            blob = blob.ljust(8, b"\0")
            entries += struct.pack("<HHI", tag, kind, count) + blob[:4]
            tails += blob[4:]
        at = self.put(struct.pack("<H", len(tags)) + entries + bytes(8) + tails)
        self.f.seek(self.next)
        self.f.write(struct.pack("<Q", at))
        self.next = at + 2 + len(entries)


def image(a, tiff, width, height, blob, lens, mpp, starts=()):
    at = tiff.put(blob)
    per_cm = (round(1e7 / mpp), 1000)
    tags = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [8, 8, 8]),
        259: (SHORT, [7]),
        262: (SHORT, [6]),
        271: (ASCII, "Hamamatsu"),
        272: (ASCII, "C13140"),
        273: (LONG, [at]),
        277: (SHORT, [3]),
        278: (LONG, [height]),
        279: (LONG, [len(blob)]),
        282: (RATIONAL, per_cm),
        283: (RATIONAL, per_cm),
        284: (SHORT, [1]),
        296: (SHORT, [3]),
        305: (ASCII, "synthetic"),
        306: (ASCII, "2026:01:01 12:00:00"),
        530: (SHORT, [1, 1]),
        65420: (LONG, [1]),
        65421: (FLOAT, [lens]),
        65422: (SLONG, [1500000]),
        65423: (SLONG, [-2500000]),
        65424: (SLONG, [0]),
        65427: (ASCII, a.reference),
        65449: (ASCII, "NDP.S/N=000000\r\nCreated=2026/01/01\r\n"),
    }
    if len(starts) > 1 and not a.no_mcu_starts:
        tags[65426] = (LONG, starts)
    tiff.directory(tags)
    return at


def write(argv=None):
    """Write the slide that the arguments describe; its truth, which tests assert on."""
    a = options(argv)
    levels = pyramid(a)
    tiff, spoiled = Tiff(a.out), None
    for k, level in enumerate(levels):
        blob, starts = level.finish()
        if k == 0 and a.corrupt:
            n = len(starts) * 45 // 100
            cut = starts[n], starts[n + 1] - 2
            blob = blob[: cut[0]] + b"\xa5" * (cut[1] - cut[0]) + blob[cut[1] :]
            across = level.width // level.tile
            spoiled = [n % across * level.tile, n // across * 8, level.tile, 8]
        image(a, tiff, level.width, level.height, blob, a.objective / 4**k, a.mpp * 4**k, starts)
    macro = scene.overview(scene.thumbnail(a.width, a.height, 512, a.seed))
    image(a, tiff, macro.shape[1], macro.shape[0], scene.jpeg(macro), -1.0, 50.0)
    tiff.f.close()
    if a.truncate:
        os.truncate(a.out, os.path.getsize(a.out) // 2)
    return {
        "mpp": a.mpp,
        "levels_in_file": [[v.width, v.height] for v in levels],
        "region": [a.width, a.height],
        "seed": a.seed,
        "corrupt_box": spoiled,
    }


def main(argv=None):
    print(json.dumps(write(argv)))


if __name__ == "__main__":
    main()
