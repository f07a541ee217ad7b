"""The second opinion: the library's own loader and plain calls, without LiteFerry's loading code."""
