"""emoji7, the embedded data set: emoji drawings with names in seven languages."""
