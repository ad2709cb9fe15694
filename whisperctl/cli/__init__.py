"""The command line: flags become objects, one call is made, a view is printed, an exit code is chosen."""
