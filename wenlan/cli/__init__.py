"""The `wenlan` command, one file for each group of commands."""
