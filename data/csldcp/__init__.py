"""CSLDCP of FewCLUE: abstracts of papers by discipline, read from a folder of the user; none of it is shipped."""
