"""A job's `targets` besides the CPU: runs files as on a microcontroller, or has a compiler analyse whether a file fits a GPU or
an NPU.
"""
