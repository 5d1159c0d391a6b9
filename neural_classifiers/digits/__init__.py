"""Everything about handwritten digits: files, checks, networks, training, scores."""
