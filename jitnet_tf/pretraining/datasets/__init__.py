"""Datasets of labeled images."""
