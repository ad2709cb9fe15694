"""What runs outside the books: packages on disk, builds, and the processes that are instances."""
