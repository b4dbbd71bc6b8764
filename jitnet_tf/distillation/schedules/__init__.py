"""Schedules: on which frames the teacher is asked."""
