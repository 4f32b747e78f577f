# `make quickstart` and `make test` do all set-up by themselves; they need Python 3.11 and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
CORPUS := corpora/synthetic
MODEL ?= models/bilma
FAMILY ?= runs/family
export HF_HUB_OFFLINE ?= 1

.PHONY: help quickstart family present publish test test-fast page browser test-page bench-fill-mask soak parity bench profile bench-inference lint clean

help:
	@echo "make quickstart       ask the model in models/bilma for eight regions, then grow a region from it"
	@echo "make family           train the whole family on the texts in CORPORA, or continue an interrupted run"
	@echo "make present          renew model_cards/ for the organization ORG"
	@echo "make publish          push models, cards, tests and page to the Hub, as ORG; DRY_RUN=FOLDER only writes them"
	@echo "make test             run the tests"
	@echo "make test-fast        run the tests that take less than five seconds each"
	@echo "make lint             check style, format, imports between folders, and types"
	@echo "make soak             kill, interrupt and sabotage runs, and feed damaged files to the readers"
	@echo "make page             build the page with MODEL (models/bilma) and serve it on this machine"
	@echo "make test-page        test the page in Chromium (make browser installs it, on Debian)"
	@echo "make parity           compare converted checkpoints with the authors' TensorFlow code (Python 3.11 or older)"
	@echo "make bench            time training and tokenising against the authors' code and a plain BERT"
	@echo "make bench-fill-mask  time answers of MODEL in torch, ONNX Runtime and Chromium, also against those two"
	@echo "make profile          report where the time of a training step and of a fill-mask answer goes"
	@echo "make bench-inference  time converted checkpoints against the authors' code"
	@echo "make clean            remove what the other targets made, except the environment and the family"

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=...')"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

$(CORPUS)/README.md: training/synthetic_corpus.py training/texts/synthetic.py training/texts/synthetic_lexicon.yaml | .venv/installed
	$(BIN)/python training/synthetic_corpus.py --output_dir $(CORPUS)

PHRASE ?= ¿cuándo [MASK] venir?
# Said, as accelerate otherwise lists its defaults in a warning; the script chooses the precision itself.
ONE_PROCESS := --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no
quickstart: .venv/installed $(CORPUS)/README.md
	@echo "1. The model in models/bilma, asked for its eight regions."
	$(BIN)/python training/complete.py --models models/bilma --phrases "$(PHRASE)"
	@echo "2. A region grown from it, on $(CORPUS): synthetic texts, made for this project. About a minute on two cores."
	$(BIN)/accelerate launch --quiet $(ONE_PROCESS) training/pretrain.py --recipe quickstart --region mx --init_from models/bilma \
		--train_file $(CORPUS)/mx.jsonl --output_dir runs/quickstart/mx --overwrite
	$(BIN)/python training/complete.py --models models/bilma runs/quickstart/mx --phrases "$(PHRASE)"

# FLAGS are further flags of the script, such as FLAGS=--estimate.
family: .venv/installed
	$(BIN)/python training/train_family.py --output_dir $(FAMILY) $(if $(MORE),--more $(MORE)) \
		$(if $(LABELLED),--labelled $(LABELLED)) $(if $(SEEDS),--seeds $(SEEDS)) $(FLAGS) \
		--corpora $(or $(CORPORA),$(error give the folder of the texts: make family CORPORA=FOLDER))

present: .venv/installed
	$(BIN)/python training/present_family.py $(if $(CLASSIFIERS),--classifiers $(CLASSIFIERS)) \
		--org $(or $(ORG),$(error give the organization of the Hub: make present ORG=NAME)) $(FLAGS)

# What is published is shown first and confirmed; DRY_RUN=FOLDER writes it there instead.
publish: .venv/installed
	@$(if $(wildcard build/space),,echo "There is no build/space, so the page is left out; make page builds it.")
	HF_HUB_OFFLINE=0 $(BIN)/python training/publish.py --models models/bilma $(CLASSIFIERS) \
		--regional_tests regional_tests $(if $(wildcard build/space),--space build/space) \
		$(if $(DRY_RUN),--dry_run $(DRY_RUN)) $(FLAGS) \
		--org $(or $(ORG),$(error give the organization of the Hub: make publish ORG=NAME))

# Two at a time, each with one thread; a file's tests share what the first of them makes.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile
test: .venv/installed
	$(PYTEST)

test-fast: .venv/installed
	$(PYTEST) -m "not slow and not parity and not browser"

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
	$(BIN)/python -m benchmarks.fuzz_readers

.venv-parity/installed: tests/parity/requirements.txt
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/pip install --quiet --disable-pip-version-check --requirement tests/parity/requirements.txt
	touch $@

parity: .venv/installed .venv-parity/installed
	$(BIN)/pytest -m parity tests/parity

BENCH_TEXTS ?= $(CORPUS)/mx.jsonl
bench: .venv/installed .venv-parity/installed $(CORPUS)/README.md
	$(BIN)/python -m benchmarks.pretraining --train_file $(BENCH_TEXTS)

BENCH_REGION ?= mx
bench-fill-mask: .venv/installed .venv-parity/installed space/node_modules/.package-lock.json browser $(CORPUS)/README.md
	$(BIN)/python -m benchmarks.fill_mask --model $(MODEL) --texts $(BENCH_TEXTS) --region $(BENCH_REGION) $(FLAGS)

profile: .venv/installed $(CORPUS)/README.md
	$(BIN)/python -m benchmarks.profile_step --train_file $(BENCH_TEXTS)

bench-inference: .venv/installed .venv-parity/installed
	$(BIN)/python -m benchmarks.inference

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

clean:
	rm -rf runs/quickstart $(CORPUS) build *.egg-info
