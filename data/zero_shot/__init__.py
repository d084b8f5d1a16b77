"""Zero-shot classification: the classes, their names in each language, and the templates that names are put into."""
