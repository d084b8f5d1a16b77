"""Rows of every data set: validation, text cleaning, scripts, and the report of bad rows."""
