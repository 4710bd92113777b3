# ruff: noqa
# mypy: ignore-errors
"""Write small pyramidal slides that readers recognise as vendor formats (test data, no real scans).

Prints as JSON the facts a test can assert on: vendor, mpp, level-0 size, bounds, regions, sparse and corrupt tiles.
Labels and every text field that could carry identity hold SECRET, so that a test can search its outputs for it.
"""

import argparse
import base64
import json
import math
import os

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageDraw, ImageFont

SECRET = "PATIENT 123"
CODED = base64.b64encode(SECRET.encode()).decode()


def tissue(width, height, seed=0):
    """H&E-like blobs with nuclei on white; corner blocks red, green, blue, black prove the placement."""
    rng = np.random.default_rng(seed)

    def field(cell):
        grid = Image.fromarray(
            rng.random((height // cell + 3, width // cell + 3), dtype=np.float32)
        )
        return np.asarray(grid.resize((width, height), Image.BICUBIC))

    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    mask = (
        np.hypot((x / width - 0.5) * 2.3, (y / height - 0.5) * 2.3)
        + 0.5 * field(max(width, height) // 6)
        < 1.2
    )
    nuclei, stroma = field(9) > 0.74, (field(40) * 0.6 + field(5) * 0.4 - 0.5)[..., None]
    image = np.float32([228, 140, 190]) + stroma * np.float32([60, 110, 70])
    image = np.where(nuclei[..., None], np.float32([95, 60, 140]) + stroma * 60, image)
    image = np.where(mask[..., None], image, 243).clip(0, 255).astype(np.uint8)
    image[:16, :16], image[:16, -16:], image[-16:, :16], image[-16:, -16:] = (
        (255, 0, 0),
        (0, 160, 0),
        (0, 0, 255),
        0,
    )
    return image


def shrink(image, factor):
    h, w = image.shape[0] // factor, image.shape[1] // factor
    return (
        image[: h * factor, : w * factor]
        .reshape(h, factor, w, factor, 3)
        .mean((1, 3))
        .round()
        .astype(np.uint8)
    )


def pyramid(image, factor=2, smallest=400):
    levels = [image]
    while max(levels[-1].shape[:2]) // factor >= smallest:
        levels.append(shrink(levels[-1], factor))
    return levels


def pad(image, tile, **how):
    return np.pad(image, ((0, -image.shape[0] % tile), (0, -image.shape[1] % tile), (0, 0)), **how)


def card(width, height, image=None):
    """A label, or with an image a macro picture: SECRET drawn large."""
    picture = Image.new("RGB", (width, height), (250, 248, 235))
    if image is not None:
        picture.paste(
            Image.fromarray(image).resize((width // 2, height // 2)),
            (width // 2 - 9, height // 2 - 9),
        )
    ImageDraw.Draw(picture).text(
        (8, height // 3), SECRET, "black", ImageFont.load_default(min(width // 8, 48))
    )
    return np.asarray(picture)


class Slide:
    """A TIFF under construction: tiled pages, and stripped pages for pictures."""

    def __init__(self, path, lossless, **kind):
        self.tif, self.lossless = tifffile.TiffWriter(path, **kind), lossless

    def tiles(
        self,
        image,
        tile=256,
        colour="ycbcr",
        sparse=False,
        corrupt=None,
        mpp=None,
        dpi=None,
        **tags,
    ):
        """sparse: all-white tiles get byte count 0 and are returned. corrupt: the (col, row) of a tile of noise."""
        empty = []

        def encode():
            padded = pad(image, tile, mode="edge")
            for y in range(0, padded.shape[0], tile):
                for x in range(0, padded.shape[1], tile):
                    block = np.ascontiguousarray(padded[y : y + tile, x : x + tile])
                    if (x // tile, y // tile) == corrupt:
                        yield np.random.default_rng(1).bytes(4000)
                    elif sparse and block.min() == 255:
                        empty.append((x // tile, y // tile))
                        yield b""
                    else:
                        yield (
                            imagecodecs.zlib_encode(block.tobytes(), 6)
                            if self.lossless
                            else imagecodecs.jpeg_encode(
                                block,
                                level=95,
                                colorspace="rgb",
                                outcolorspace=colour,
                                subsampling="444",
                            )
                        )

        if mpp or dpi:
            tags |= {
                "resolution": (dpi or 1e4 / mpp,) * 2,
                "resolutionunit": "INCH" if dpi else "CENTIMETER",
            }
        # tifffile would tag RGB JPEG as YCbCr without the explicit outcolorspace
        coding = (
            {"compression": "adobe_deflate"}
            if self.lossless
            else {
                "compression": "jpeg",
                "subsampling": (1, 1),
                "compressionargs": {"outcolorspace": colour},
            }
        )
        self.tif.write(
            encode(),
            shape=image.shape,
            dtype="uint8",
            tile=(tile, tile),
            photometric="rgb",
            **{"metadata": None, "software": False} | coding | tags,
        )
        return empty

    def strip(self, image, compression="jpeg", **tags):
        self.tif.write(
            image,
            rowsperstrip=image.shape[0],
            photometric="rgb",
            compression=compression,
            metadata=None,
            software=False,
            **tags,
        )


def leica(out, image, mpp, lossless, two=False, full=False):
    """SCN: regions placed in nanometres on a canvas without other pixels (full: a whole glass, 26.6 x 76.7 mm)."""
    h, w, nm = *image.shape[:2], round(image.shape[1] * mpp * 1000) / image.shape[1]
    areas = [(image, int(w * 0.4) + 1, int(h * 0.7) + 3)]
    if two:
        areas.append(
            (
                np.ascontiguousarray(image[: int(h * 0.6), : int(w * 0.7)][:, ::-1]),
                int(w * 0.8),
                int(h * 2.1),
            )
        )
    canvas = (26578700, 76734400) if full else (math.ceil(w * nm * 2.1), math.ceil(h * nm * 3.2))

    def describe(name, levels, first, view, objective):
        dims = "".join(
            f'<dimension sizeX="{p.shape[1]}" sizeY="{p.shape[0]}" r="{r}" ifd="{first + r}"/>'
            for r, p in enumerate(levels)
        )
        return (
            f'<image name="{name}" uuid="urn:uuid:{name}"><creationDate>2012-03-04T05:06:07.89Z</creationDate>'
            '<device model="Leica SCN400;Leica SCN" version="1.5.1.10864"/>'
            f'<pixels sizeX="{levels[0].shape[1]}" sizeY="{levels[0].shape[0]}">{dims}</pixels>'
            '<view sizeX="{}" sizeY="{}" offsetX="{}" offsetY="{}" spacingZ="0"/>'.format(*view)
            + f"<scanSettings><objectiveSettings><objective>{objective}</objective></objectiveSettings>"
            "<illuminationSettings><numericalAperture>0.4</numericalAperture><illuminationSource>brightfield"
            "</illuminationSource></illuminationSettings></scanSettings></image>"
        )

    pages = [card(canvas[0] * 700 // canvas[1], 700, image)]
    texts = [
        describe("macro", pages, 0, (*canvas, 0, 0), "0.6")
    ]  # as large as the canvas and at 0, 0: a macro
    for number, (part, x, y) in enumerate(areas):
        levels = [
            shrink(part, 4**k) for k in range(3)
        ]  # as many in every region, or OpenSlide refuses
        texts.append(
            describe(
                f"region{number}",
                levels,
                len(pages),
                [
                    round(part.shape[1] * nm),
                    round(part.shape[0] * nm),
                    math.ceil(x * nm),
                    math.ceil(y * nm),
                ],
                20,
            )
        )
        pages += levels
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="urn:uuid:0">'
        f'<collection name="{SECRET}" uuid="urn:uuid:1" sizeX="{canvas[0]}" sizeY="{canvas[1]}">'
        f"<barcode>{CODED}</barcode>{''.join(texts)}</collection></scn>"
    )
    slide = Slide(out, lossless, bigtiff=True)
    for k, page in enumerate(pages):  # OpenSlide takes mpp from the tags, tiffslide from the XML
        slide.tiles(
            page,
            mpp=mpp * 4 ** ((k - 1) % 3) if k else canvas[0] / 1e3 / page.shape[1],
            description=None if k else xml,
        )
    regions = np.array([(x, y, part.shape[1], part.shape[0]) for part, x, y in areas])
    start, end = regions[:, :2].min(0), (regions[:, :2] + regions[:, 2:]).max(0)
    return (
        slide,
        image,
        {
            "size": [math.ceil(c / nm) for c in canvas],
            "regions": regions.tolist(),
            "power": "20",
            "bounds": [*start.tolist(), *(end - start).tolist()],
            "associated": ["macro"],
        },
    )


def philips(out, image, mpp, lossless):
    """Pages padded to whole 512 tiles, all-white tiles absent, mpp only in XML (row spacing first), label in XML."""
    base = np.array(image)
    base[512:1024, 512:1536] = 255  # a gap between scan areas: whole tiles without data
    levels = pyramid(pad(base, 512, constant_values=255))

    def attribute(name, value, kind="IString"):
        if isinstance(value, list):
            kind, value = "IDataObjectArray", f"<Array>{''.join(value)}</Array>"
        return f'<Attribute Name="{name}" Group="0x0028" Element="0x0030" PMSVR="{kind}">{value}</Attribute>'

    def spacing(*mpps):
        return attribute(
            "DICOM_PIXEL_SPACING",
            " ".join(f"&quot;{v / 1000:.6g}&quot;" for v in mpps),
            "IDoubleArray",
        )

    def thing(kind, *attributes):
        return f'<DataObject ObjectType="{kind}">{"".join(attributes)}</DataObject>'

    # as in real files: rows and columns differ a little, and the nominal spacing of the levels is another one
    steps = [
        thing("PixelDataRepresentation", spacing(*[mpp * 1.0017 * 2**k] * 2))
        for k in range(len(levels))
    ]
    jpeg = base64.b64encode(imagecodecs.jpeg_encode(card(400, 440))).decode()
    xml = '<?xml version="1.0" encoding="UTF-8" ?>' + thing(
        "DPUfsImport",
        attribute("DICOM_MANUFACTURER", "PHILIPS"),
        attribute("PIM_DP_UFS_BARCODE", CODED),
        attribute(
            "PIM_DP_SCANNED_IMAGES",
            [
                thing(
                    "DPScannedImage",
                    attribute("PIM_DP_IMAGE_TYPE", "WSI"),
                    attribute(
                        "DICOM_DERIVATION_DESCRIPTION",
                        "tiff-useBigTIFF=1-useRgb=0-levels=10003,10002-q80",
                    ),
                    spacing(mpp * 1.0001, mpp),
                    attribute("PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", steps),
                ),
                thing(
                    "DPScannedImage",
                    attribute("PIM_DP_IMAGE_TYPE", "LABELIMAGE"),
                    attribute("PIM_DP_IMAGE_DATA", jpeg),
                ),
            ],
        ),
    )
    slide = Slide(out, lossless, bigtiff=True)
    empty = [
        slide.tiles(
            pad(page, 512, constant_values=255),
            512,
            sparse=True,
            software="Philips DP v1.0",
            description=f"level={k}" if k else xml,
            subfiletype=k and 1,
        )
        for k, page in enumerate(levels)
    ]
    slide.strip(card(900, 400, image), description="Macro")
    return (
        slide,
        image,
        {
            "size": levels[0].shape[1::-1],
            "mpp_y": mpp * 1.0001,
            "sparse": empty[0],
            "associated": ["label", "macro"],
        },
    )


def aperio(out, image, mpp, lossless, number=True, decimal=".", dpi=None, label=False):
    """SVS: JPEG stored as RGB (no YCbCr); the thumbnail is page 1; label (LZW) and macro come last."""
    h, w = image.shape[:2]
    keys = f"|AppMag = 20|User = {SECRET}" + (
        f"|MPP = {mpp:.4f}".replace(".", decimal) if number else ""
    )
    slide, head = Slide(out, lossless), "Aperio Image Library v11.2.1\r\n"
    for level, page in enumerate(pyramid(image, 4, 180)):
        size = f"{w}x{h} [0,0 {w}x{h}] (240x240)" + (
            f" -> {page.shape[1]}x{page.shape[0]}" if level else ""
        )
        slide.tiles(page, 240, "rgb", description=f"{head}{size} JPEG/RGB Q=95{keys}", dpi=dpi)
        if level == 0:
            small = np.asarray(Image.fromarray(image).resize((1024, max(1, 1024 * h // w))))
            slide.strip(small, description=f"{head}{w}x{h} -> 1024x{small.shape[0]} - {keys}")
    if label:
        slide.strip(
            card(387, 463), "lzw", predictor=True, subfiletype=1, description=f"{head}label 387x463"
        )
        slide.strip(card(1280, 431, image), subfiletype=9, description=f"{head}macro 1280x431")
    return (
        slide,
        image,
        {
            "mpp": mpp if number else None,
            "power": "20",
            "associated": ["label", "macro", "thumbnail"] if label else ["thumbnail"],
        },
    )


def generic(
    out, image, mpp, lossless, kind=None, dpi=None, sparse=False, single=False, corrupt=None
):
    """Plain tiled TIFF. kind ome: levels in SubIFDs. kind trestle: XResolution is the mpp itself, unit ignored."""
    image, trestle, ome = np.array(image), kind == "trestle", kind == "ome"
    if sparse:
        image[256:768, 512:1280] = 255
    slide, levels, empty = Slide(out, lossless, ome=ome), [image] if single else pyramid(image), []
    for number, page in enumerate(levels):
        tags = {"dpi": mpp if trestle else dpi, "mpp": mpp * 2**number, "subfiletype": number and 1}
        if trestle:
            tags |= {
                "software": "MedScan 2.0",
                "description": "Objective Power=20;Background Color=E6E6E6",
            }
        if ome and number == 0:
            about = {"axes": "YXS", "PhysicalSizeX": mpp, "PhysicalSizeY": mpp, "Name": SECRET}
            tags |= {"subifds": len(levels) - 1, "metadata": about}
        empty.append(slide.tiles(page, sparse=sparse, corrupt=None if number else corrupt, **tags))
    return (
        slide,
        image,
        {
            "mpp": 25400 / dpi if dpi else mpp,
            "corrupt": corrupt,
            "sparse": empty[0],
            "associated": [],
            "power": "20" if trestle else None,
        },
    )


FORMATS = {  # name: writer, options; "keep" truncates the finished file to that share
    "leica": (leica, {}),
    "leica-two": (leica, {"two": True}),
    "leica-slide": (leica, {"full": True}),
    "philips": (philips, {}),
    "aperio": (aperio, {}),
    "aperio-nompp": (aperio, {"number": False}),
    "aperio-comma": (aperio, {"decimal": ","}),
    "aperio-nompp-72dpi": (aperio, {"number": False, "dpi": 72}),
    "aperio-label": (aperio, {"label": True}),
    "generic": (generic, {}),
    "generic-72dpi": (generic, {"dpi": 72}),
    "generic-sparse": (generic, {"sparse": True}),
    "generic-single": (generic, {"single": True}),
    "generic-corrupt": (generic, {"corrupt": (3, 2)}),
    "generic-truncated": (generic, {"single": True, "keep": 0.6}),
    "generic-truncated-pyramid": (generic, {"keep": 0.6}),
    "ome": (generic, {"kind": "ome"}),
    "trestle": (generic, {"kind": "trestle"}),
}


def write(name, out, image, mpp=0.25, lossless=False):
    """Write one slide and return its facts. Tests call this."""
    function, options = FORMATS[name][0], dict(FORMATS[name][1])
    keep = options.pop("keep", None)
    slide, image, more = function(
        str(out), np.ascontiguousarray(image[..., :3]), mpp, lossless, **options
    )
    slide.tif.close()
    if keep:
        os.truncate(out, int(os.path.getsize(out) * keep))
    vendor, size = (
        name.split("-")[0].replace("ome", "generic").replace("generic", "generic-tiff"),
        image.shape[1::-1],
    )
    return {
        "format": name,
        "vendor": vendor,
        "mpp": mpp,
        "size": size,
        "image": size,
        "bounds": None,
    } | more


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("out")
    for name, value in {"width": 3000, "height": 2500, "seed": 0, "mpp": 0.25}.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--pixels", help="an image file to use as level 0")
    parser.add_argument(
        "--lossless", action="store_true", help="Deflate tiles instead of JPEG: pixels are exact"
    )
    args = parser.parse_args()
    image = (
        Image.open(args.pixels).convert("RGB")
        if args.pixels
        else tissue(args.width, args.height, args.seed)
    )
    print(json.dumps(write(args.format, args.out, np.asarray(image), args.mpp, args.lossless)))


if __name__ == "__main__":
    main()
