"""Clips made on the spot and the comparison that is run on them."""
