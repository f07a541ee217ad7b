"""One checkpoint -> a SavedModel, its variants and the reference's answers, in a sandbox."""

from liteferry.exporting.export import export_isolated

__all__ = ["export_isolated"]
