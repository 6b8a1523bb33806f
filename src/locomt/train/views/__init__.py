"""Views that change while a model is trained: drawn anew every step, or learned with the weights."""
