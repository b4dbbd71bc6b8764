"""The evaluation protocol: stream lists, one method on one stream, many side by side."""
