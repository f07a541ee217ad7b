"""A bound on what may be allocated, and that it ends."""

from __future__ import annotations

import resource
import sys

import pytest

from liteferry.sandbox import allocation

MEGABYTES = 2**20

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts what a process holds")


def test_what_is_beyond_the_bound_fails_and_what_is_below_does_not() -> None:
    with allocation.at_most(64 * MEGABYTES):
        assert len(bytearray(16 * MEGABYTES)) == 16 * MEGABYTES
        with pytest.raises(MemoryError):
            bytearray(256 * MEGABYTES)


def test_the_bound_ends_also_after_an_error() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(ValueError, match="damaged"), allocation.at_most(MEGABYTES):
        raise ValueError("damaged")
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_tighter_limit_stays() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with allocation.at_most(64 * MEGABYTES):
        tight = resource.getrlimit(resource.RLIMIT_DATA)
        with allocation.at_most(1024 * MEGABYTES):
            assert resource.getrlimit(resource.RLIMIT_DATA) == tight
    assert resource.getrlimit(resource.RLIMIT_DATA) == (soft, hard)
