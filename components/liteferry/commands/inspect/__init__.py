"""`liteferry inspect`: shows the facts that an artifact's files contain. It loads and runs nothing, and does not import
TensorFlow.

`contained.inspect` is what callers use; the other modules run in the process that it starts.
"""
