"""Speed: benchmarks of student, loop and teacher."""
