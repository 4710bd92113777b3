# ruff: noqa
# mypy: ignore-errors
"""Ventana BIF beside vendor_tiffs (optional): importing this adds the format "ventana" to vendor_tiffs.FORMATS."""

import numpy as np

import vendor_tiffs
from vendor_tiffs import SECRET, Slide, card, shrink


def ventana(out, image, mpp, lossless, tile=256, over=16):
    """BIF: tiles overlap by 16 px and the reader stitches them; the raw TIFF image is larger than the slide."""
    step = tile - over
    down, across = (
        (image.shape[0] - over) // step // 4 * 4,
        (image.shape[1] - over) // step // 4 * 4,
    )
    image = image[: down * step + over, : across * step + over]
    raw = np.vstack(
        [
            np.hstack(
                [
                    image[r * step : r * step + tile, c * step : c * step + tile]
                    for c in range(across)
                ]
            )
            for r in range(down)
        ]
    )

    def joint(way, c, r, c2, r2, x, y):
        one, other = (
            up * across + (across - 1 - col if up % 2 else col) + 1  # from the bottom, to and fro
            for col, up in ((c, down - 1 - r), (c2, down - 1 - r2))
        )
        return (
            f'<TileJointInfo FlagJoined="1" Confidence="99" Direction="{way}" Tile1="{one}" Tile2="{other}" '
            f'OverlapX="{x}" OverlapY="{y}"/>'
        )

    joints = [
        joint("RIGHT", c, r, c + 1, r, over, 0) for r in range(down) for c in range(across - 1)
    ]
    joints += [joint("UP", c, r, c, r - 1, 0, over) for r in range(1, down) for c in range(across)]
    scan = f'<iScan Magnification="20" ScanRes="{mpp}" UnitNumber="1" BarCode1D="{SECRET}"/>'
    encode = (
        f'<EncodeInfo Ver="2"><SlideStitchInfo><ImageInfo AOIScanned="1" AOIIndex="0" Width="{tile}" '
        f'Height="{tile}" NumRows="{down}" NumCols="{across}" Pos-X="0" Pos-Y="0">{"".join(joints)}</ImageInfo>'
        '</SlideStitchInfo><AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>'
    )
    slide = Slide(out, lossless, bigtiff=True)
    slide.strip(
        card(360, 800, image),
        description="Label Image",
        extratags=[(700, 1, len(scan), scan.encode(), True)],
    )
    for k in range(3):
        slide.tiles(
            shrink(raw, 2**k),
            tile,
            description=f"level={k} mag={20 / 2**k:g} quality=95",
            subfiletype=k and 1,
            extratags=[] if k else [(700, 1, len(encode), encode.encode(), True)],
        )
    return slide, image, {"raw": raw.shape[1::-1], "power": "20", "associated": ["macro"]}


vendor_tiffs.FORMATS["ventana"] = (ventana, {})

if __name__ == "__main__":
    vendor_tiffs.main()
