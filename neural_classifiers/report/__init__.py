"""What people read: pages, plots, cards, summaries."""
