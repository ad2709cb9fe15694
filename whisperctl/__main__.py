"""`python -m whisperctl`."""

from whisperctl.cli.main import main

main()
