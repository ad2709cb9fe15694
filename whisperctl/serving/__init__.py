"""How vLLM serves a Whisper: what is known of releases, GPUs and models, and the command line that follows."""
