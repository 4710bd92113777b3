"""Experiments: variants of a training, compared over folds and seeds at an equal budget."""
