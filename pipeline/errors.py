"""Every error the pipeline raises on purpose: one tree, one clear line each, the remedy named.

PipelineError
├── ConfigError            a setting is unknown or out of range               (exit 2)
│   └── ManifestError      lines of a table of slides are wrong, each one said
├── ModelError             weights or model card cannot be used               (exit 2)
│   └── MissingDeviceError there is no such device here
├── DeviceError            the device that predicts is lost                   (no slide is blamed)
│   └── DeviceMemoryError  it has too little memory now
├── AnnotationError        annotated fields or regions of interest are wrong
├── OutputError            the output folder cannot be written                (stops the batch)
├── LockedError            another run holds the output folder                (exit 3)
├── InterruptedRunError    stopped on request, resumable                      (exit 75)
└── SlideError             one slide cannot be scored; the others go on
    ├── UnreadableSlideError
    ├── UnreachableSlideError
    ├── MissingResolutionError
    ├── ResolutionRangeError
    └── SlideChangedError
"""


class PipelineError(Exception):
    """Base of all errors that carry a message for the user."""


class ConfigError(PipelineError, ValueError):
    """A setting is unknown, contradictory or out of range."""


class ManifestError(ConfigError):
    """Lines of a manifest are wrong.

    Parameters
    ----------
    lines
        One a fault, whole.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class ModelError(PipelineError, ValueError):
    """Weights or model card cannot be used."""


class MissingDeviceError(ModelError):
    """The device that was asked for is not here; another machine may have it."""


class DeviceError(PipelineError, RuntimeError):
    """The device that predicts is lost to this process: says nothing about a slide."""


class DeviceMemoryError(DeviceError):
    """The device has too little memory free now; that may pass."""


class AnnotationError(PipelineError, ValueError):
    """Annotated fields, truth files or regions of interest are wrong."""


class OutputError(PipelineError, OSError):
    """The output folder cannot be written: the batch stops, no slide is blamed."""


class LockedError(PipelineError, RuntimeError):
    """Another run holds the output folder."""


class InterruptedRunError(PipelineError, RuntimeError):
    """The run was stopped on request and can be resumed."""


class SlideError(PipelineError):
    """One slide cannot be scored; the rest of the batch goes on."""


class UnreadableSlideError(SlideError, OSError):
    """The file is missing, damaged or no slide."""


class UnreachableSlideError(SlideError):
    """The slide cannot be read at all now; that may pass, so the next run tries again."""


class MissingResolutionError(SlideError, ValueError):
    """The slide has no micrometres per pixel and none was given."""


class ResolutionRangeError(SlideError, ValueError):
    """The slide's micrometres per pixel cannot be true or cannot be used."""


class SlideChangedError(SlideError, RuntimeError):
    """The slide file changed while it was being processed."""
