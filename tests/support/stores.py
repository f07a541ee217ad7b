"""Fixtures: an empty folder on a store. `make test` has one of each kind, fsspec's memory and S3; the others are nightly."""

from __future__ import annotations

import uuid

import pytest


def _place(request: pytest.FixtureRequest, kind: str) -> str:
    return f"memory://{uuid.uuid4().hex}/out" if kind == "memory" else f"{request.getfixturevalue(kind).uri}/some/out"


_NIGHTLY = pytest.mark.nightly


@pytest.fixture(params=("memory", pytest.param("s3", marks=_NIGHTLY), pytest.param("gs", marks=_NIGHTLY)))
def store(request: pytest.FixtureRequest) -> str:
    return _place(request, request.param)


@pytest.fixture(params=("s3", pytest.param("gs", marks=_NIGHTLY)))
def shared_store(request: pytest.FixtureRequest) -> str:
    """One that other processes see."""
    return _place(request, request.param)


@pytest.fixture
def memory_store(request: pytest.FixtureRequest) -> str:
    return _place(request, "memory")
