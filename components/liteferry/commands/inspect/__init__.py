"""`liteferry inspect`: what an artifact says of itself. Nothing of it is loaded or run, and TensorFlow is not imported.

`contained.inspect` is what callers use; the other modules run in the process that it starts.
"""
