"""Training the student on labeled images, before any video."""
