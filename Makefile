# Every way into the repository. Bare `make` lists the targets that carry a `##` comment.
#   make setup PYTHON=python3.12     another interpreter (3.10, 3.11 or 3.12), while there is no .venv

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := outputs/demo
CODE := audiosr data_prep bench tools tests train.py evaluate.py infer.py

.DEFAULT_GOAL := help
.PHONY: help setup demo app study test smoke check bench notebooks clean

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with the tested versions; redone when pyproject.toml or constraints.txt changes

# A set-up that was cut short leaves no pip or no stamp: it is made anew or taken up again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))' || \
		{ echo "$(PYTHON) is not Python 3.10-3.12: make setup PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo "no venv module: on Debian, apt install python3-venv"; exit 1; }
	$(BIN)/pip install --constraint constraints.txt --editable '.[dev]'
	@touch $@

# The run folder that the demo's training of a stage wrote last; the dated names sort by time.
newest = $$(ls -d outputs/$(1)/*-demo | tail -n 1)

demo: $(READY) ## the whole path on the audio in the repository, in about 15 minutes on two CPU cores
	@echo "Starting afresh: $(DEMO) is removed"
	rm -rf $(DEMO)
	$(BIN)/python -m data_prep folder --source demo/audio --out $(DEMO)/shards
	$(BIN)/python train.py stage=vae experiment=demo
	$(BIN)/python train.py stage=vocoder experiment=demo
	$(BIN)/python train.py stage=ldm experiment=demo
	$(BIN)/audiosr assemble $(DEMO)/model $(call newest,ldm)/model $(call newest,vocoder)/model
	$(BIN)/python evaluate.py out=$(DEMO)/evaluate "models={demo: $(DEMO)/model, compact: compact}" \
		"runs=[$(call newest,vae),$(call newest,vocoder),$(call newest,ldm)]"
	cp $(DEMO)/evaluate/report.html $(DEMO)/report.html
	cp "$$(ls $(DEMO)/evaluate/audio/*-4000-input.flac | head -n 1)" $(DEMO)/recording.flac
	$(BIN)/python infer.py input=$(DEMO)/recording.flac output=$(DEMO)/restored.wav model=$(DEMO)/model
	@printf '%-22s %s\n' \
		"report" "$(DEMO)/report.html" \
		"model" "$(DEMO)/model/" \
		"a 4 kHz recording" "$(DEMO)/recording.flac" \
		"restored" "$(DEMO)/restored.wav"

app: $(READY) ## a page in the browser on which recordings are restored; installs gradio the first time
	@$(BIN)/pip show --quiet gradio 2>/dev/null || \
		$(BIN)/pip install --constraint constraints.txt --editable '.[app]'
	$(BIN)/audiosr app

# The model of `make demo`; on a fresh clone the one that the package carries.
study: $(READY) $(DEMO)/shards/index.json ## every study on a few test clips of the demo, in one report
	$(BIN)/python evaluate.py study=all model=$(if $(wildcard $(DEMO)/model),$(DEMO)/model,compact) metrics=quick \
		cutoffs=[4000,8000] benchmark.limit=2 out=outputs/study overwrite=true

$(DEMO)/shards/index.json: | $(READY)
	$(BIN)/python -m data_prep folder --source demo/audio --out $(DEMO)/shards

test: $(READY) ## every test
	$(BIN)/pytest -n auto --dist loadfile

smoke: $(READY) ## the quick tests of every room, in under 2 minutes
	$(BIN)/pytest -n auto --dist loadfile -m "smoke or not slow"

check: $(READY) ## format, lint, types, floors, repeated blocks, names
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/pyright --project pyright-strict.json
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python tools/check_duplicates.py
	$(BIN)/python tools/check_names.py

bench: $(READY) ## speed and memory beside a baseline of the same run (bench/README.md)
	$(BIN)/python -m bench.features
	$(BIN)/python -m bench.edge
	$(BIN)/python -m bench.data
	$(BIN)/python -m bench.inference --model $(DEMO)/model
	for stage in vae ldm vocoder; do $(BIN)/python -m bench.train --stage $$stage --size tiny || exit 1; done

notebooks: $(READY) ## run the notebooks on the model of `make demo`; copies with results in outputs/notebooks/
	@mkdir -p outputs/notebooks
	$(BIN)/jupyter-execute --output='../outputs/notebooks/{notebook_name}' notebooks/*.ipynb

clean: ## remove caches and build products; outputs/ and .venv stay
	rm -rf dist build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
