"""Recipes, the training loop, metrics, and runs that can be resumed, evaluated and used."""
