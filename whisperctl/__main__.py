"""The program's entry, `whisperctl` and `python -m whisperctl` alike."""

import sys


def run() -> None:
    """Run the program; Ctrl-C while it is still being loaded ends it as Ctrl-C later does."""
    try:
        from whisperctl.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)  # as in errors.py, which may not have been loaded yet


if __name__ == "__main__":
    run()
