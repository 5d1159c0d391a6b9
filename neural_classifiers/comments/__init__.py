"""Comments as values: reading, judging, cleaning and splitting them; no paths, no Prefect.

- `formats`: rows out of JSON Lines, CSV, TSV and Parquet, packed or not (`Part`, `Layout`).
- `rows`: the rows of files as Arrow batches, counted, drawn and parsed.
- `strict_json`: JSON texts read by RFC 8259.
- `schemas`: the columns of the tables, from the rows as they came to the rows dropped.
- `rules`: what each row must be, as plain rules, for training and for prediction.
- `expectations`: what we expect of each row and of the whole, as rules and Great Expectations' own.
- `validator`: the gate; rows accepted or set aside, and a verdict on the whole.
- `gx_adapter`: Great Expectations in memory, asked about tables.
- `drift`: profiles of two runs, and how far they lie apart.
- `text`: cleaned comments (`clean_comment`, `clean_column`), and every option of cleaning.
- `splits`: training and test rows that share no text, and samples with the classes of all.
- `duplicates`: test comments that nearly repeat a training comment.
- `models`: pipelines, grids and networks that classify comments.
"""
