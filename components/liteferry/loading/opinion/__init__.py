"""The second opinion: loads a checkpoint with the library's own loader and calls it plainly, without LiteFerry's loading code."""
