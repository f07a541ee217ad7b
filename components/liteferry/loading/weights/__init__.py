"""Matches arrays of a file to variables of a model by name: each array used once, each variable filled."""
