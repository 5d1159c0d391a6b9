"""Ground: models and weights as bytes, threads of the numeric libraries."""
