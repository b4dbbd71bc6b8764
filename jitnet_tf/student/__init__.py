"""The student: architectures, compiled steps, loss, weights."""
