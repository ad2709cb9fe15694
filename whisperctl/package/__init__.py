"""What is uploaded, byte for byte the same for the same stack: rendered files, requirements and the archive."""
