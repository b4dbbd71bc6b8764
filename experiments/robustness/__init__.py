"""Damaged files, kills and long runs."""
