"""`liteferry kit`: packs a .tflite file, sample rows and the expected answers, to be run on a device. `liteferry compare --kit`
judges the device's answers.
"""
