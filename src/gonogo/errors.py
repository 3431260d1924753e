"""Every error that gonogo raises on purpose.

GonogoError
├── UsageError             a command was called in a way that it does not have         (ValueError)
├── ConfigError            a parameter is unknown, missing, mistyped or out of range   (ValueError)
├── DataError              the data contradict what was asked of them                  (ValueError)
│   └── ImageError         one file cannot be read as an image
├── ShapeError             an array or tensor has the wrong shape or dtype             (ValueError)
├── UndefinedMetricError   the metric has no value on these data                       (ValueError)
├── NotFittedError         a detector was used before it was fitted                    (RuntimeError)
├── TrainingError          a training does not converge                                (RuntimeError)
├── IntegrityError         a file is not the one that its manifest promises            (RuntimeError)
├── ParityError            two runtimes disagree                                       (RuntimeError)
├── GateError              a gauge is beyond the tolerances against the one in use     (RuntimeError)
├── WeightsError           a network's weights cannot be had                           (RuntimeError)
├── ExportError            a detector cannot be written as ONNX                        (RuntimeError)
├── WorkerError            a process of another environment failed                     (RuntimeError)
├── PipelineError          git or DVC did not do what was asked of them                (RuntimeError)
└── MissingExtraError      an optional dependency is not installed                     (ImportError)

Each message says what was expected, what was got, where, and what to do.
"""


class GonogoError(Exception):
    """Root of all errors that gonogo raises on purpose."""


class UsageError(GonogoError, ValueError):
    """A command was called in a way that it does not have."""

    def __init__(self, message: str, *, command: str = "gonogo") -> None:
        """`command`: the words that its `--help` is asked with."""
        super().__init__(message)
        self.command = command


class ConfigError(GonogoError, ValueError):
    """A parameter is unknown, missing, mistyped or out of range."""


class DataError(GonogoError, ValueError):
    """The data contradict what was asked of them."""


class ImageError(DataError):
    """One file cannot be read as an image."""


class ChangedError(ImageError):
    """A file has changed between two looks at it."""


class SlowImageError(ImageError):
    """Decoding an image takes longer than it may."""


class ShapeError(GonogoError, ValueError):
    """An array or tensor has the wrong shape or dtype."""


class UndefinedMetricError(GonogoError, ValueError):
    """The metric has no value on these data."""


class NotFittedError(GonogoError, RuntimeError):
    """A detector was used before it was fitted."""


class TrainingError(GonogoError, RuntimeError):
    """A training does not converge."""


class IntegrityError(GonogoError, RuntimeError):
    """A file is not the one that its manifest promises."""


class ParityError(GonogoError, RuntimeError):
    """Two runtimes disagree."""


class GateError(GonogoError, RuntimeError):
    """A gauge is beyond the tolerances against the one in use."""


class WeightsError(GonogoError, RuntimeError):
    """A network's weights cannot be had."""


class ExportError(GonogoError, RuntimeError):
    """A detector cannot be written as ONNX."""


class WorkerError(GonogoError, RuntimeError):
    """A process of another environment failed."""


class PipelineError(GonogoError, RuntimeError):
    """git or DVC did not do what was asked of them."""


class MissingExtraError(GonogoError, ImportError):
    """An optional dependency is not installed."""
