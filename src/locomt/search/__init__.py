"""Finding view tables: which head should look where, under a budget."""
