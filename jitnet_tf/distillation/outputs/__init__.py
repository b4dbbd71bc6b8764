"""Outputs: the class map that is shown of a frame."""
