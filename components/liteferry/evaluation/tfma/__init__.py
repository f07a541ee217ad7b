"""Task metrics by TensorFlow Model Analysis, over predictions that were made elsewhere."""
