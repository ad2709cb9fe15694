"""What each call does to the project's documents, one module per resource. No HTTP, no processes."""
