"""One module or folder for each command of the command line. The command line imports them when they are asked for."""
