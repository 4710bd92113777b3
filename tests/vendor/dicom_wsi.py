# ruff: noqa
# mypy: ignore-errors
"""Write a synthetic DICOM whole-slide series that OpenSlide opens as vendor 'dicom'.

OUTDIR gets one .dcm per pyramid level (VOLUME) plus a LABEL and an OVERVIEW instance, all of one
series.  Tiles are JPEG baseline.  `--sparse` stores only tiles that hold tissue (TILED_SPARSE);
otherwise every tile is there (TILED_FULL).  The truth goes to stdout as JSON; `scene.render` gives
the pixels.
"""

import argparse
import json
import os

import numpy as np
from PIL import ImageCms
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit, PYDICOM_IMPLEMENTATION_UID, generate_uid

import scene

WSI_STORAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"
PHI = {
    "PatientName": "Doe^Jane^Q",
    "PatientID": "MRN-0012345",
    "PatientBirthDate": "19570412",
    "AccessionNumber": "S26-98765",
    "ReferringPhysicianName": "House^Gregory",
    "InstitutionName": "County General Hospital",
    "BarcodeValue": "S26-98765-A1",
    "PatientComments": "next of kin John Doe, +1 555 0100",
}


def options(argv=None):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("outdir")
    p.add_argument("--prefix", default="", help="of the file names: two series in one folder")
    p.add_argument("--width", type=int, default=6000)
    p.add_argument("--height", type=int, default=4500)
    p.add_argument("--mpp", type=float, default=0.25)
    p.add_argument("--tile", type=int, default=256)
    p.add_argument("--levels", type=int, default=5, help="each half the one before")
    p.add_argument("--objective", type=float, default=40)
    p.add_argument("--quality", type=int, default=90)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--drop-level", type=int, action="append", default=[], help="do not write it")
    p.add_argument("--phi", action="store_true", help="patient name etc. in tags and on the label")
    p.add_argument("--sparse", action="store_true", help="TILED_SPARSE")
    p.add_argument("--no-spacing", action="store_true", help="leave PixelSpacing out: no mpp")
    p.add_argument("--corrupt-level", type=int, help="spoil the middle tile of this level")
    p.add_argument("--truncate-level", type=int, help="cut this level's file in half")
    return p.parse_args(argv)


def encode(rgb, a):
    return scene.jpeg(rgb, a.quality, subsampling="4:2:2")


def pyramid(a):
    """Levels as {(row, col): JPEG bytes}, made strip by strip so that memory stays small."""
    tile, strip = a.tile, a.tile * 2 ** (a.levels - 1)
    sizes = [(max(1, a.width >> k), max(1, a.height >> k)) for k in range(a.levels)]
    full = -(-a.width // strip) * strip
    frames = [{} for _ in sizes]
    for s, top in enumerate(range(0, a.height, strip)):
        rgb = scene.render_large(0, top, full, strip, a.width, a.height, a.seed)
        for k, (w, h) in enumerate(sizes):
            if k:
                rgb = scene.half(rgb)
            first = s * strip // 2**k // tile
            for r in range(rgb.shape[0] // tile):
                for c in range(-(-w // tile)):
                    if (first + r) * tile < h:
                        part = rgb[r * tile : (r + 1) * tile, c * tile : (c + 1) * tile]
                        if not a.sparse or part.min() < 225:
                            frames[k][first + r, c] = encode(part, a)
    return sizes, frames


def item(**values):
    d = Dataset()
    for k, v in values.items():
        setattr(d, k, v)
    return d


def code(value, scheme, meaning):
    return Sequence([item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)])


def common(a):
    """What all instances of the series share: patient, study, series, equipment, specimen."""

    def uid(*what):
        return generate_uid(
            entropy_srcs=["synthetic", *map(str, (a.width, a.height, a.mpp, a.seed, a.phi)), *what]
        )

    d = item(
        SOPClassUID=WSI_STORAGE,
        Modality="SM",
        StudyDate="20260101",
        StudyTime="120000",
        ContentDate="20260101",
        ContentTime="120000",
        AcquisitionDateTime="20260101120000",
        Manufacturer="Synthetic",
        ManufacturerModelName="scene",
        DeviceSerialNumber="0",
        SoftwareVersions="1",
        AccessionNumber="",
        ReferringPhysicianName="",
        PatientName="",
        PatientID="SYNTHETIC",
        PatientBirthDate="",
        PatientSex="",
        StudyID="1",
        SeriesNumber=1,
        StudyInstanceUID=uid("study"),
        SeriesInstanceUID=uid("series"),
        FrameOfReferenceUID=uid("frame"),
        PositionReferenceIndicator="SLIDE_CORNER",
        ContainerIdentifier="SYNTHETIC-1",
        IssuerOfTheContainerIdentifierSequence=Sequence(),
        ContainerTypeCodeSequence=code("433466003", "SCT", "Microscope slide"),
        AcquisitionContextSequence=Sequence(),
        VolumetricProperties="VOLUME",
        FocusMethod="AUTO",
        ExtendedDepthOfField="NO",
        LossyImageCompression="01",
        LossyImageCompressionMethod="ISO_10918_1",
        LossyImageCompressionRatio=10,
    )
    d.SpecimenDescriptionSequence = Sequence(
        [
            item(
                SpecimenIdentifier="SYNTHETIC-1",
                SpecimenUID=uid("specimen"),
                IssuerOfTheSpecimenIdentifierSequence=Sequence(),
                SpecimenPreparationSequence=Sequence(),
            )
        ]
    )
    if a.phi:
        for k, v in PHI.items():
            setattr(d, k, v)
    return d, uid


def instance(a, base, uid, number, flavor, derived, size, tile, frames, mpp):
    """One file's data set.  `frames` is {(row, col): JPEG}; `tile` is (columns, rows)."""
    d = Dataset()
    d.update(base)
    sparse = a.sparse and flavor == "VOLUME"
    kind = (
        ["DERIVED", "PRIMARY", flavor, "RESAMPLED"]
        if derived
        else ["ORIGINAL", "PRIMARY", flavor, "NONE"]
    )
    across, down = -(-size[0] // tile[0]), -(-size[1] // tile[1])
    order = sorted(frames) if sparse else [(r, c) for r in range(down) for c in range(across)]
    for k, v in dict(
        SOPInstanceUID=uid(flavor, str(number)),
        InstanceNumber=number,
        ImageType=kind,
        SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL_422",
        PlanarConfiguration=0,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
        NumberOfFrames=len(order),
        Columns=tile[0],
        Rows=tile[1],
        TotalPixelMatrixColumns=size[0],
        TotalPixelMatrixRows=size[1],
        TotalPixelMatrixFocalPlanes=1,
        NumberOfOpticalPaths=1,
        ImagedVolumeWidth=size[0] * mpp / 1000,
        ImagedVolumeHeight=size[1] * mpp / 1000,
        ImagedVolumeDepth=0.001,
        ImageOrientationSlide=[0, -1, 0, -1, 0, 0],
        BurnedInAnnotation="YES" if flavor == "LABEL" else "NO",
        SpecimenLabelInImage="YES" if flavor in ("LABEL", "OVERVIEW") else "NO",
        DimensionOrganizationType="TILED_SPARSE" if sparse else "TILED_FULL",
    ).items():
        setattr(d, k, v)
    d.TotalPixelMatrixOriginSequence = Sequence(
        [item(XOffsetInSlideCoordinateSystem=20.0, YOffsetInSlideCoordinateSystem=40.0)]
    )
    d.DimensionOrganizationSequence = Sequence([item(DimensionOrganizationUID=uid("dims"))])
    d.OpticalPathSequence = Sequence(
        [
            item(
                OpticalPathIdentifier="0",
                ObjectiveLensPower=a.objective,
                IlluminationTypeCodeSequence=code("111744", "DCM", "Brightfield illumination"),
                IlluminationColorCodeSequence=code("414298005", "SCT", "Full Spectrum"),
                ICCProfile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
            )
        ]
    )
    measures = item(SliceThickness=0.001)
    if not a.no_spacing:
        measures.PixelSpacing = [round(mpp / 1000, 9)] * 2
    d.SharedFunctionalGroupsSequence = Sequence(
        [
            item(
                PixelMeasuresSequence=Sequence([measures]),
                WholeSlideMicroscopyImageFrameTypeSequence=Sequence([item(FrameType=kind)]),
                OpticalPathIdentificationSequence=Sequence([item(OpticalPathIdentifier="0")]),
            )
        ]
    )
    if flavor == "LABEL":
        d.LabelText = PHI["PatientName"] if a.phi else "SYNTHETIC-1"
        d.BarcodeValue = base.get("BarcodeValue", "")
    if sparse:
        d.DimensionIndexSequence = Sequence(
            [
                item(
                    DimensionIndexPointer=tag,
                    FunctionalGroupPointer=0x0048021A,
                    DimensionOrganizationUID=uid("dims"),
                )
                for tag in (0x0048021F, 0x0048021E)
            ]
        )
        d.PerFrameFunctionalGroupsSequence = Sequence(
            [
                item(
                    PlanePositionSlideSequence=Sequence(
                        [
                            item(
                                ColumnPositionInTotalImagePixelMatrix=c * tile[0] + 1,
                                RowPositionInTotalImagePixelMatrix=r * tile[1] + 1,
                                XOffsetInSlideCoordinateSystem=round(
                                    20 - r * tile[1] * mpp / 1000, 6
                                ),
                                YOffsetInSlideCoordinateSystem=round(
                                    40 - c * tile[0] * mpp / 1000, 6
                                ),
                                ZOffsetInSlideCoordinateSystem=0.0,
                            )
                        ]
                    ),
                    FrameContentSequence=Sequence([item(DimensionIndexValues=[r + 1, c + 1])]),
                )
                for r, c in order
            ]
        )
    d.PixelData = encapsulate([frames[t] for t in order])
    d["PixelData"].VR = "OB"
    d["PixelData"].is_undefined_length = True
    d.file_meta = FileMetaDataset()
    d.file_meta.MediaStorageSOPClassUID = WSI_STORAGE
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
    d.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    d.file_meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    return d


def write(argv=None):
    """Write the slide that the arguments describe; its truth, which tests assert on."""
    a = options(argv)
    os.makedirs(a.outdir, exist_ok=True)
    base, uid = common(a)
    sizes, frames = pyramid(a)
    if a.corrupt_level is not None:
        spots = sorted(frames[a.corrupt_level])
        spoiled = spots[len(spots) // 2]
        frames[a.corrupt_level][spoiled] = b"\xa5" * len(frames[a.corrupt_level][spoiled])
    thumb = scene.thumbnail(a.width, a.height, 512, a.seed)
    words = f"{PHI['PatientName']}\n{PHI['PatientID']}" if a.phi else "SYNTHETIC-1"
    jobs = [
        (f"level{k}", "VOLUME", k > 0, sizes[k], (a.tile, a.tile), frames[k], a.mpp * 2**k)
        for k in range(a.levels)
        if k not in a.drop_level
    ]
    for name, flavor, rgb in (
        ("label", "LABEL", scene.label(words)),
        ("overview", "OVERVIEW", scene.overview(thumb)),
    ):
        size = (rgb.shape[1], rgb.shape[0])
        jobs.append((name, flavor, False, size, size, {(0, 0): encode(rgb, a)}, 50.0))
    for number, (name, *rest) in enumerate(jobs, 1):
        path = os.path.join(a.outdir, f"{a.prefix}{name}.dcm")
        instance(a, base, uid, number, *rest).save_as(path, enforce_file_format=True)
        if name == f"level{a.truncate_level}":
            os.truncate(path, os.path.getsize(path) // 2)
    return {
        "mpp": a.mpp,
        "levels": [s for k, s in enumerate(sizes) if k not in a.drop_level],
        "tile": a.tile,
        "region": [a.width, a.height],
        "seed": a.seed,
        "files": [f"{a.prefix}{j[0]}.dcm" for j in jobs],
        "frames": [len(f) for f in frames],
        "tiles_present": [sorted(f) for f in frames],
        "corrupt_tile": list(spoiled) if a.corrupt_level is not None else None,
    }


def main(argv=None):
    print(json.dumps(write(argv)))


if __name__ == "__main__":
    main()
