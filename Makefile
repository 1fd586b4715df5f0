# The commands of this project. Each installs what it needs on first use; `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

export SAM_CLI_TELEMETRY := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PYTHON ?= python3.13
ENV ?= default

# One virtual environment for the code and its tests, one for the local stack (SAM CLI pins its own boto3), and one that
# stands for Lambda's managed runtime: it has the runtime client and nothing else.
DEV := .venv
LOCAL := .venv-local
RUNTIME := .venv-lambda
SAM := $(LOCAL)/bin/sam

# What the local stack runs: the artifact of `sam build`, for this machine's kind of processor.
MACHINE_ARCH := $(if $(filter arm64 aarch64,$(shell uname -m)),arm64,x86_64)
ARTIFACT := .aws-sam/local/template.yaml
SOURCES := template.yaml requirements.txt functions/Makefile $(shell find functions -name '*.py')

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(LOCAL)/ready $(RUNTIME)/ready $(ARTIFACT) ## Create invoices on the local stack, show them, stop
	@$(LOCAL)/bin/python -m infra.local demo

.PHONY: run
run: $(LOCAL)/ready $(RUNTIME)/ready $(ARTIFACT) ## Run the local stack until Ctrl-C
	@$(LOCAL)/bin/python -m infra.local run $(if $(PORT),--port $(PORT))

.PHONY: test
test: $(DEV)/ready $(LOCAL)/ready $(RUNTIME)/ready $(ARTIFACT) ## Run all tests
	@$(DEV)/bin/python -m pytest

.PHONY: lint
lint: $(DEV)/ready $(LOCAL)/ready ## Check format, style, types and the template
	@$(DEV)/bin/ruff format --check .
	@$(DEV)/bin/ruff check .
	@$(DEV)/bin/mypy functions
	@$(SAM) validate --lint --region us-east-1

.PHONY: format
format: $(DEV)/ready ## Format the code
	@$(DEV)/bin/ruff format .
	@$(DEV)/bin/ruff check --fix .

.PHONY: build
build: $(LOCAL)/ready ## Build the artifact for Lambda with sam build
	@PYTHON="$(abspath $(LOCAL))/bin/python" $(SAM) build

.PHONY: deploy
deploy: build ## Deploy the build: make deploy ORIGINS=https://shop.example [ENV=prod]
	@$(SAM) deploy --config-env $(ENV) $(if $(ORIGINS),--parameter-overrides "AllowedOrigins=$(ORIGINS)")

.PHONY: lock
lock: $(DEV)/ready ## Compile the .in files into the lock files
	@for name in requirements requirements-dev infra/local/requirements infra/local/lambda-runtime; do \
		$(DEV)/bin/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes \
			--custom-compile-command "make lock" $$name.in --output-file $$name.txt; \
	done

.PHONY: docs
docs: $(DEV)/ready ## Print the tested fault matrix into docs/
	@$(DEV)/bin/python -m tests.integration.fault_matrix

.PHONY: clean
clean: ## Remove everything that the other commands made
	rm -rf $(DEV) $(LOCAL) $(RUNTIME) .aws-sam .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(DEV)/ready: requirements.txt requirements-dev.txt
	@$(call make-venv,$(DEV),requirements.txt requirements-dev.txt)

$(LOCAL)/ready: infra/local/requirements.txt
	@$(call make-venv,$(LOCAL),infra/local/requirements.txt)

$(RUNTIME)/ready: infra/local/lambda-runtime.txt
	@$(call make-venv,$(RUNTIME),infra/local/lambda-runtime.txt)

$(ARTIFACT): $(SOURCES) | $(LOCAL)/ready
	@echo "Building the function for this machine ($(MACHINE_ARCH)) ..."
	@LAMBDA_ARCH=$(MACHINE_ARCH) PYTHON="$(abspath $(LOCAL))/bin/python" \
		$(SAM) build --build-dir $(dir $@) --cache-dir .aws-sam/local-cache > .aws-sam-build.log 2>&1 || { cat .aws-sam-build.log >&2; exit 1; }
	@rm -f .aws-sam-build.log
	@touch $@

# Makes the virtual environment $(1) from the lock files $(2). Python 3.13 itself is Debian's where Debian has it.
define make-venv
	if ! $(PYTHON) --version > /dev/null 2>&1 && [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get update -qq && apt-get install -qq -y python3.13 python3.13-venv > /dev/null || true; \
	fi; \
	$(PYTHON) --version > /dev/null 2>&1 || { \
		echo "Python 3.13 is needed: install it (https://www.python.org/downloads/), or name it with PYTHON=/path/to/python3.13." >&2; exit 1; }; \
	echo "Installing $(1) ..."; \
	$(PYTHON) -m venv --clear $(1); \
	$(1)/bin/python -m pip install --quiet --require-hashes $(addprefix --requirement ,$(2)); \
	touch $(1)/ready
endef
