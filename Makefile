# `make demo` and `make test` are all a newcomer needs; each installs what it lacks, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO_OUT ?= demo

.PHONY: help install demo test test-slow test-peers test-beam test-jax test-web fuzz lint format bench clean

help:
	@echo "make install    create $(VENV) and install gpt2_keras in it"
	@echo "make demo       train, generate, export and run the export, in about five minutes"
	@echo "make test       the tests (make test-slow: the long proofs)"
	@echo "make test-peers against transformers, llama.cpp's gguf and lm-evaluation-harness"
	@echo "make test-beam  the Beam pipeline against the preparation on one machine"
	@echo "make test-jax   the tests of generation, and of looking inside, on JAX"
	@echo "make test-web   the pages in a browser, which npm brings"
	@echo "make fuzz       the in-graph tokenizer against the reference until stopped"
	@echo "make lint       ruff and mypy"
	@echo "make bench      speed and size, side by side with the peers"

$(INSTALLED): setup.cfg setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,litert,litertlm]"
	@touch $@

install: $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/gpt2-keras demo --out $(DEMO_OUT)

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 -q

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -q -m slow

test-peers: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,litert,peers]"
	$(BIN)/python -m pytest -q -m peers tests/peers

test-beam: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,litert,beam]"
	$(BIN)/python -m pytest -q -m "slow or not slow" tests/data/apache_beam/test_pipeline.py

test-jax: $(INSTALLED)
	KERAS_BACKEND=jax $(BIN)/python -m pytest -q -n 2 tests/generation tests/understanding

WEB := export/on_device/web
$(WEB)/node_modules/.installed: $(WEB)/package.json
	npm install --prefix $(WEB) --no-audit --no-fund --no-package-lock
	@touch $@

test-web: $(INSTALLED) $(WEB)/node_modules/.installed
	$(BIN)/python -m pytest -q -m "slow or not slow" tests/export/test_web_page.py \
		tests/understanding/test_page_in_browser.py

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.tokenizer.fuzz $(FUZZ)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,litert,bench]"
	$(BIN)/python benchmarks/run.py $(ONLY)

clean:
	rm -rf $(VENV) build dist *.egg-info
