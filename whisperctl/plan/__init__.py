"""What differs between a stack file and the live project, and what to do about it, as data. Performs nothing."""
