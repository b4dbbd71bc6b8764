"""The evaluation protocol: stream lists, one method on one stream, many in parallel."""
