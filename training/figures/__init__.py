"""Images that are made for texts: their files, and their evaluation beside controls."""
