"""One module a command, of the command's name: flags in, one call, a view out."""
