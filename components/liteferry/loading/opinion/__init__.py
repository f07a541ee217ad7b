"""The second opinion: the library's own loader and plain calls, with nothing of our own loading."""
