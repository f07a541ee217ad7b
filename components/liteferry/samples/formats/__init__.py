"""One module for each file format of the samples; `registry` chooses by the file's name."""
