"""Modules that follow a view table, and the whole fusion model. Needs torch alone."""
