# `make quickstart` and `make test` do all set-up by themselves; they need Python 3.11 and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
CORPUS := corpora/synthetic
MODEL ?= models/bilma
FAMILY ?= runs/family
export HF_HUB_OFFLINE ?= 1

.PHONY: page browser test-page bench-onnx help quickstart family present test soak parity bench profile bench-inference lint clean

help:
	@echo "make quickstart  train two small regional models on the synthetic corpus and compare them"
	@echo "make family      train the whole family on the texts in CORPORA, or go on with it, and compare its models"
	@echo "make present     renew model_cards/ from it, for the organization ORG"
	@echo "make test        run the tests"
	@echo "make soak        kill, interrupt and sabotage runs, and see that they end as if nothing had happened"
	@echo "make page        build the page with the model in the box, or MODEL=FOLDER, and serve it on this machine"
	@echo "make test-page   test the page in Chromium (make browser installs that, on Debian)"
	@echo "make parity      compare converted checkpoints with the authors' TensorFlow code (Python 3.11 or older)"
	@echo "make bench       time training, tokenising and fill-mask against the authors' code and a plain BERT"
	@echo "make profile     say where the time of a training step and of a fill-mask answer goes"
	@echo "make bench-inference  time converted checkpoints against it"
	@echo "make bench-onnx  compare the exports of MODEL with it, in speed and answers, also in Chromium"
	@echo "make lint        check style and format"
	@echo "make clean       remove what the other targets made, but for the environment and the family"

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=...')"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

$(CORPUS)/README.md: training/synthetic_corpus.py training/synthetic_lexicon.yaml | .venv/installed
	$(BIN)/python training/synthetic_corpus.py --output_dir $(CORPUS)

runs/quickstart/%/config.json: $(CORPUS)/README.md training/recipes/quickstart.yaml
	$(BIN)/accelerate launch --quiet training/pretrain.py --recipe quickstart --region $* \
		--train_file $(CORPUS)/$*.jsonl --output_dir $(@D) --overwrite

quickstart: runs/quickstart/mx/config.json runs/quickstart/ar/config.json
	$(BIN)/python training/complete.py --models runs/quickstart/mx runs/quickstart/ar --phrases "vamos a comer [MASK]"

# FLAGS are more flags of the script: FLAGS=--estimate says what it will take.
family: .venv/installed
	$(BIN)/python training/train_family.py --output_dir $(FAMILY) $(if $(LABELLED),--labelled $(LABELLED)) \
		$(if $(TASKS),--tasks $(TASKS)) $(FLAGS) \
		--corpora $(or $(CORPORA),$(error give the folder of the texts: make family CORPORA=FOLDER))

present: .venv/installed
	$(BIN)/python training/present_family.py --family $(FAMILY) \
		--org $(or $(ORG),$(error give the organization of the Hub: make present ORG=NAME)) $(FLAGS)

test: .venv/installed
	$(BIN)/pytest

PORT ?= 8000
ONNX := build/onnx
page: .venv/installed space/node_modules/.package-lock.json
	$(if $(wildcard $(MODEL)/config.json),,$(error no model at $(MODEL): make page MODEL=FOLDER))
	rm -rf $(ONNX)
	PYTHONPATH=. $(BIN)/python training/export_onnx.py --model $(MODEL) --output_dir $(ONNX)
	node space/build.mjs $(ONNX) build/space
	$(BIN)/python space/serve.py build/space --port $(PORT)

space/node_modules/.package-lock.json: space/package.json space/package-lock.json
	cd space && npm ci --ignore-scripts --no-audit --no-fund

# Debian's: Playwright's own browsers come from elsewhere.
browser:
	command -v chromium >/dev/null || (apt-get update --quiet && apt-get install --yes --quiet chromium)

test-page: .venv/installed space/node_modules/.package-lock.json browser
	$(BIN)/pytest -m browser tests/space

soak: .venv/installed
	$(BIN)/python -m benchmarks.soak

.venv-parity/installed: tests/parity/requirements.txt
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/pip install --quiet --disable-pip-version-check --requirement tests/parity/requirements.txt
	touch $@

parity: .venv/installed .venv-parity/installed
	$(BIN)/pytest -m parity tests/parity

BENCH_TEXTS ?= $(CORPUS)/mx.jsonl
bench: .venv/installed .venv-parity/installed $(CORPUS)/README.md
	PYTHONPATH=. $(BIN)/python benchmarks/pretraining.py --train_file $(BENCH_TEXTS)

profile: .venv/installed $(CORPUS)/README.md
	PYTHONPATH=. $(BIN)/python benchmarks/profile_step.py --train_file $(BENCH_TEXTS)

bench-inference: .venv/installed .venv-parity/installed
	$(BIN)/python benchmarks/inference.py

bench-onnx: .venv/installed space/node_modules/.package-lock.json browser $(CORPUS)/README.md
	PYTHONPATH=. $(BIN)/python benchmarks/exported.py --model $(MODEL) --texts $(BENCH_TEXTS) --browser $(FLAGS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf runs/quickstart $(CORPUS) build *.egg-info
