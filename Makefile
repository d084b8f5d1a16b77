# The two commands of a new user: `make demo` (set-up and main job) and `make test` (set-up and tests).
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
INSTALLED := $(VENV)/.installed

.PHONY: setup demo demo-mlmm test lint data clean

setup: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml
	@echo "Setting up $(VENV): downloads PyTorch and friends, a few minutes the first time."
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,dev]'
	touch $@

demo: $(INSTALLED)
	$(VENV)/bin/wenlan quickstart

# MLMM end to end: detector, regions, pre-training, retrieval in seven languages, questions, attention.
demo-mlmm: $(INSTALLED)
	$(VENV)/bin/wenlan demo-mlmm

test: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile

lint: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# Rebuilds data/emoji7 from its pinned sources: needs node and npm; users never run this.
data: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet '.[build-data]'
	$(VENV)/bin/python tools/build_emoji7.py

clean:
	rm -rf $(VENV) build *.egg-info
