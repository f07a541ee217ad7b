"""Fixtures: an empty folder on a store."""

from __future__ import annotations

import uuid

import pytest


def _place(request: pytest.FixtureRequest, kind: str) -> str:
    return f"memory://{uuid.uuid4().hex}/out" if kind == "memory" else f"{request.getfixturevalue(kind).uri}/some/out"


@pytest.fixture(params=("s3", "gs", "memory"))
def store(request: pytest.FixtureRequest) -> str:
    return _place(request, request.param)


@pytest.fixture(params=("s3", "gs"))
def shared_store(request: pytest.FixtureRequest) -> str:
    """One that other processes see."""
    return _place(request, request.param)


@pytest.fixture
def memory_store(request: pytest.FixtureRequest) -> str:
    return _place(request, "memory")
