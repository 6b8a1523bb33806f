"""What a model costs: closed-form FLOPs, parameters and memory, counted FLOPs, measured time."""
