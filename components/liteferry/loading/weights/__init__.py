"""Arrays of a file -> variables of a model, by their names: each array used once, each variable filled."""
