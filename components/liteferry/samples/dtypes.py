"""Decides which dtypes of sample columns may feed which input dtypes, and finds values that a cast has changed."""

from __future__ import annotations

from typing import Any

import numpy as np

_NUMBER_KINDS = "biufc"


def is_usable(dtype: str) -> bool:
    """Whether columns of some dtype can feed an input of this one."""
    if dtype == "string":
        return True
    try:
        return _is_narrow_float(dtype) or np.dtype(dtype).kind in _NUMBER_KINDS
    except TypeError:
        return False


def _is_narrow_float(dtype: str) -> bool:
    """The floats of ml_dtypes. No sample file holds them, so columns of wider ones feed such inputs."""
    return dtype.startswith(("bfloat", "float8"))


def dtype_of(name: str) -> np.dtype[Any]:
    """A dtype by its name, including those of ml_dtypes."""
    if not _is_narrow_float(name):
        return np.dtype(name)
    import ml_dtypes

    found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return found


def can_cast(have: str, want: str) -> bool:
    """Casts that keep the meaning: to more precision, integer to float, float to narrower float, between integer widths."""
    if "string" in (have, want) or not is_usable(have) or _is_narrow_float(have):
        return have == want
    if _is_narrow_float(want):
        return np.dtype(have).kind in "fiub"
    source, target = np.dtype(have), np.dtype(want)
    widens = np.can_cast(source, target, "safe")
    return widens or (source.kind in "iu" and target.kind in "iuf") or (source.kind == target.kind and source.kind in "fc")


def lost(values: np.ndarray, cast: np.ndarray) -> np.ndarray:
    """Where a cast changed a value: an integer that wrapped, or a number too large for the float type.
    Rounding does not count.
    """
    if cast.dtype.kind in "iu" and values.dtype.kind in "iu":
        limits = np.iinfo(cast.dtype)
        return np.asarray((values < limits.min) | (values > limits.max))
    return np.asarray(np.isfinite(values) & ~np.isfinite(cast))
