"""The ground under all packages: errors, commands, files, threads; imports nothing above."""
