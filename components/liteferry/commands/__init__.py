"""One module or folder per command. The command line imports a command's module only when that command runs."""
