"""Everything about comments: reading, checking, cleaning, splitting them."""
