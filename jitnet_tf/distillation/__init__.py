"""Online distillation of one stream: Algorithm 1, its schedule, its results and their scores."""
