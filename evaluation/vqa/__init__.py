"""Visual question answering: the official accuracy and its report."""
