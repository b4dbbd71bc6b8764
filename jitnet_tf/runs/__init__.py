"""Runs: opening, resuming, summarizing, and exporting their students."""
