"""Many streams at once, with a pool of teachers that they share."""
