"""Large tables a batch and a row group at a time."""
