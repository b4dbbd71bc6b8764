"""Online model distillation for video: a compact student learns from its teacher on the stream."""
