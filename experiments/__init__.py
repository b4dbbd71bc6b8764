"""The paper's tables and figures as commands; RESULTS.md holds what they gave."""
