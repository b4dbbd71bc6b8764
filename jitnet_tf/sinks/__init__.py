"""Sinks, which take the results of a run: overlay video, class masks, frame log, TensorBoard."""
