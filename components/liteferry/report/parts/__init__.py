"""The files of a large fleet: rows in parts, each written by a worker, and a summary that is small whatever the fleet's size."""
