# Everything a person or a machine does here. `make` alone says what there is.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8080
SERVICE ?= service:Atelier
DATA ?= data/satellite
FOREIGN ?= data/foreign
MODEL_PATH ?=
MODELS ?= $(ATELIER_MODELS)
MINUTES ?= 20
BENCH ?=
WORKERS ?= 2
KUBERNETES ?= $(HOME)/.cache/atelier-kubernetes

export BENTOML_HOME ?= $(CURDIR)/.atelier/bentoml
export BENTOML_DO_NOT_TRACK := True
# Dozens of interpreters start here: without it each of them would compile everything again.
unexport PYTHONDONTWRITEBYTECODE
ifneq ($(MODEL_PATH),)
export MODEL_PATH
endif
# A summarization checkpoint wants transformers and torch, a GPU wants torch beside what every model needs.
GPUS := $(wildcard /proc/driver/nvidia/gpus/*)
RUNTIME := .venv/$(if $(or $(MODEL_PATH),$(wildcard deepsynth-summarizer)),neural,$(if $(GPUS),gpu,runtime))
# The client of Kubernetes takes an eighth of all that is installed, and few have a cluster.
RUNTIME += $(if $(filter kubernetes,$(ATELIER_BACKEND)),.venv/kubernetes)

# What serves and what tests are apart: torch and its friends make the second one ten times as large.
BIN := .venv/bin
DEV := .venv-dev/bin
TEST := $(DEV)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder
# Tests that need no engine or cluster; and of these, the short ones.
ALONE := not docker and not kubernetes and not swarm
HERE := not slow and $(ALONE)
COMPILE := $(DEV)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  pyproject.toml
SERVED := --extra client --extra docker --extra documents --extra management --extra postgresql --extra shared-store \
  --extra vision
LOCKED = $(@D)/bin/python -m pip install --quiet --require-hashes --disable-pip-version-check --requirement

.PHONY: help checked serve models bentos images unit test up down slow whole containers kubernetes swarm faults soak bench check format lock docs deploy-files train figures clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

serve: checked $(RUNTIME) ## Serve every model on http://127.0.0.1:8080 (HOST= and PORT= change that, MODELS=satellite,embedding leaves others out)
	@ln -sf ../../bin/atelier $(BIN)/atelier
	@ATELIER_MODELS=$(MODELS) $(BIN)/python -m serve $(SERVICE) --host $(HOST) --port $(PORT)

# Before anything is installed or built.
checked:
	@$(PYTHON) bin/check_serve.py "$(HOST)" "$(PORT)" "$(MODEL_PATH)" "$(MODELS)"

models: $(RUNTIME) ## Put the models into the BentoML store
	@$(BIN)/python -m runners.artifacts

bentos: models ## Build the Bentos that changed, each with its own files, models and dependencies
	@$(BIN)/python -m management build

images: models ## Make the container images of those Bentos that changed, as atelier/NAME:VERSION
	@$(BIN)/python -m management image

up: ## Start the containers of deploy/: nginx on port 80, and the models behind it
	@deploy/compose up -d

down: ## Stop and remove them; the state that they keep stays
	@deploy/compose --profile atelier down

unit: .venv-dev/dev ## Run the tests that start no process: what to run while typing
	$(TEST) -m "unit and $(HERE)"

test: .venv-dev/dev ## Run the tests but for those that take long, need torch, a Docker Engine or a cluster
	$(TEST) -m "(unit or server) and $(HERE)"

slow: .venv-dev/dev ## Run those that take long or need torch: fuzzing, training, everything from end to end
	$(TEST) -m "(slow or torch) and $(ALONE)" --ignore tests/faults

whole: .venv-dev/dev ## Run what test and slow run, at once
	$(TEST) -m "$(ALONE)" --ignore tests/faults

containers: .venv-dev/dev ## Run the tests that need a Docker Engine
	$(DEV)/python -m pytest -m "docker and not kubernetes"

kubernetes: .venv-dev/dev ## Run the tests that need a Kubernetes cluster, built as root from Debian's source once, into KUBERNETES=
	.ci/kubernetes/with $(KUBERNETES) $(DEV)/python -m pytest -m kubernetes

swarm: .venv-dev/dev ## Run the tests that need nodes of a Docker Swarm, which they start; as root
	$(DEV)/python -m pytest -m swarm

faults: export ATELIER_TESTS_JUDGE_SPEED ?= 1
faults: .venv-dev/dev ## Run the promises of docs/reliability.md alone, and print their figures
	$(DEV)/python -m pytest tests/faults

soak: .venv-dev/dev ## Ask three replicas for 20 minutes, of which one is killed each minute (MINUTES= changes that)
	$(DEV)/python -m benchmarks.soak --minutes $(MINUTES)

bench: .venv-dev/bench ## Measure Atelier beside FastAPI, LitServe, Ray Serve, Mosec and Flask on this machine
	$(DEV)/python -m runners.artifacts
	$(DEV)/python -m benchmarks.serving $(BENCH)

check: .venv-dev/dev ## Lint, check types, imports and the layout of folders
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .
	$(DEV)/mypy
	$(DEV)/lint-imports --no-cache
	$(DEV)/python bin/check_layout.py

format: .venv-dev/dev ## Format the code
	$(DEV)/ruff check --fix --quiet . && $(DEV)/ruff format .

lock: .venv-dev/dev ## Write the lock files anew from pyproject.toml
	$(DEV)/python -m pip install --quiet uv
	$(COMPILE) --upgrade $(SERVED) --extra kubernetes --extra neural --extra train --extra tracing --extra dev \
	  --output-file requirements/dev.lock
	$(COMPILE) --constraint requirements/dev.lock --output-file requirements/core.lock
	$(COMPILE) --constraint requirements/dev.lock --extra vision --output-file requirements/vision.lock
	$(COMPILE) --constraint requirements/dev.lock --extra documents --output-file requirements/documents.lock
	$(COMPILE) --constraint requirements/dev.lock $(SERVED) --output-file requirements/runtime.lock
	$(COMPILE) --constraint requirements/dev.lock $(SERVED) --extra kubernetes --output-file requirements/kubernetes.lock
	$(COMPILE) --constraint requirements/dev.lock $(SERVED) --extra gpu --output-file requirements/gpu.lock
	$(COMPILE) --constraint requirements/dev.lock $(SERVED) --extra bench --output-file requirements/bench.lock
	$(COMPILE) --constraint requirements/dev.lock $(SERVED) --extra neural --output-file requirements/neural.lock

docs: .venv-dev/dev ## Write docs/settings.md from the code
	$(DEV)/python -m docs.make_settings

deploy-files: .venv-dev/dev ## Write into deploy/ what it says of each model, from runners/registry.py
	$(DEV)/python -m deploy.make_files

train: .venv-dev/dev ## Train the satellite network: make train DATA=folder FOREIGN=folder
	$(DEV)/python -m training.satellite --data $(DATA) --foreign $(FOREIGN)

figures: .venv-dev/dev ## Measure the shipped satellite network, into docs/models: make figures DATA=folder
	$(DEV)/python -m training.satellite.measures --data $(DATA) --out docs/models

clean: ## Remove what was built, both environments and the model store
	rm -rf .venv .venv-dev .atelier build .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/created .venv-dev/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "making $(@D)"
	@$(PYTHON) -m venv $(@D)
	@touch $@

.venv/runtime .venv/gpu .venv/neural .venv/kubernetes: | checked

.venv/runtime: .venv/created requirements/runtime.lock
	@echo "installing what serving needs (less than a minute)"
	@$(LOCKED) requirements/runtime.lock
	@ln -sf ../../bin/atelier $(BIN)/atelier
	@touch $@

.venv/gpu: .venv/runtime requirements/gpu.lock
	@echo "installing what a GPU needs (torch is large: a few minutes)"
	@$(LOCKED) requirements/gpu.lock
	@touch $@

.venv/kubernetes: .venv/runtime requirements/kubernetes.lock
	@echo "installing what the backend kubernetes needs"
	@$(LOCKED) requirements/kubernetes.lock
	@touch $@

.venv/neural: .venv/runtime requirements/neural.lock
	@echo "installing what a summarization checkpoint needs (torch is large: a few minutes)"
	@$(LOCKED) requirements/neural.lock
	@touch $@

.venv-dev/dev: .venv-dev/created requirements/dev.lock
	@echo "installing what tests, checks and training need into $(@D) (torch is large: a few minutes)"
	@$(LOCKED) requirements/dev.lock
	@touch $@

.venv-dev/bench: .venv-dev/dev requirements/bench.lock
	@echo "installing what the benchmark compares with (Ray is large)"
	@$(LOCKED) requirements/bench.lock
	@touch $@
