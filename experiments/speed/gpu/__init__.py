"""Steps of the student on a GPU, by TensorFlow or JAX."""
