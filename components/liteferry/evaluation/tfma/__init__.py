"""Task metrics by TensorFlow Model Analysis, over predictions made elsewhere."""
