"""`liteferry kit`: a file with rows and expected answers, to be run on a device; `liteferry compare --kit` judges what comes
back.
"""
