"""Every error a user can cause: one clear line that names the thing and the remedy."""


class OnceForAllError(Exception):
    """Base of all errors the command line prints as one line (exit code 2) instead of a traceback."""


class InvalidArch(OnceForAllError, ValueError):
    """An architecture that its search space does not contain; names stage, block, value and the allowed values."""


class ConfigError(OnceForAllError, ValueError):
    """An unknown key, a wrong type or an impossible combination of options."""


class DataError(OnceForAllError):
    """Images or labels that cannot be used."""


class RunError(OnceForAllError):
    """A run folder that is missing, incomplete, or belongs to something else."""


class FileFormatError(OnceForAllError):
    """A file that is truncated, of another kind, or needs more than data to be read."""


class StorageError(OnceForAllError, OSError):
    """A file could not be written (disk full, no permission); what was there before is intact."""


class InfeasibleConstraint(OnceForAllError, ValueError):
    """No architecture of the space meets the constraints; states the feasible range."""


class ExportError(OnceForAllError):
    """An exported file that could not be made or does not agree with the network it came from."""


class MissingExtra(OnceForAllError, ImportError):
    """An optional package is not installed; names the extra that brings it."""


class MeasurementError(OnceForAllError):
    """A latency that could not be measured, or that a table does not hold."""
