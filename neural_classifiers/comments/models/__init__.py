"""The classifiers of comments: pipelines, grids, networks."""
