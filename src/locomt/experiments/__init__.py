"""Studies that compare models on the same data, and their reports."""
