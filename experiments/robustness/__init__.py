"""How the program stands damaged files, kills and long runs."""
