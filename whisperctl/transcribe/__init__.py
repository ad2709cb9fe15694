"""Many recordings through one endpoint: found, decoded, cut into pieces, sent, stitched together and written."""
