"""Proposals by Optuna's samplers, and the study that machines may share."""
