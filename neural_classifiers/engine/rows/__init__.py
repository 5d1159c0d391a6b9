"""Tables of many rows a batch and a row group at a time; knows no comment.

- `batches`: work on each batch, on all cores, going on after a kill where it stopped.
- `parquet`: tables between steps, whose bytes depend on their rows alone.
"""
