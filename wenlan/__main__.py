"""`python -m wenlan`: the command, in the interpreter at hand."""

from .cli.main import app

app()
