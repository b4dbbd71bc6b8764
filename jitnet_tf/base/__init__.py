"""Foundations: errors, the command line, files, checkpoints, threads. Imports no other package."""
