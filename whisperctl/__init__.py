"""whisperctl: infrastructure as code for speech recognition."""

__version__ = "0.2.0"
