"""What a job's `targets` ask for besides the CPU: files run as on a microcontroller, or looked at by a compiler for what it
fits.
"""
