# The commands of this project. Each installs what it needs on first use; `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

export SAM_CLI_TELEMETRY := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PYTHON ?= python3.13
# Which section of samconfig.toml; not taken from the environment, where ENV means something else to POSIX shells.
ENV := default
ORIGINS :=
PARAMETERS :=
CONFIRM :=
URL :=
ORIGIN :=
CREATE :=
AMOUNT :=
# Those of the environment's section in samconfig.toml, which SAM does not read when it is given others.
SECTION_PARAMETERS = $(shell sed -n '/^\[$(ENV)\.deploy/,/^$$/s/^parameter_overrides = "\(.*\)"/\1/p' samconfig.toml)
$(if $(filter default staging prod,$(ENV)),,$(error ENV is '$(ENV)': set it to default, staging or prod))

$(if $(word 2,$(CURDIR)),$(error This project cannot be built in a folder with a space in its path: move it))

# One virtual environment for the code and its tests, one for the local stack (SAM CLI pins its own boto3), and one that
# stands for Lambda's managed runtime: it has the runtime client and nothing else.
DEV := .venv
LOCAL := .venv-local
RUNTIME := .venv-lambda
# The scanners of `make lint`: one of them pins a hundred packages of its own.
SCAN := .venv-scan
# Links to the browsers that the browser tests drive.
BROWSERS := .browsers/ready
FRAMEWORKS := tests/browser/frameworks
SAM := $(LOCAL)/bin/sam
# The linter of docs/openapi.yaml, from npm.
LINTER := infra/openapi-lint
REDOCLY := REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true $(DEV)/bin/node $(LINTER)/node_modules/@redocly/cli/bin/cli.js
# With the system's certificates too, as pip has them: a company's proxy may have one of its own.
NPM_CI := PATH="$(abspath $(DEV))/bin:$$PATH" NODE_OPTIONS="--use-system-ca $${NODE_OPTIONS:-}" npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel error
# For what needs no account: SAM would look for the user's profile all the same.
SAM_OFFLINE := env -u AWS_PROFILE -u AWS_DEFAULT_PROFILE $(SAM)

# What the local stack runs: the artifact of `sam build`, for this machine's kind of processor.
MACHINE_ARCH := $(if $(filter arm64 aarch64,$(shell uname -m)),arm64,x86_64)
ARTIFACT := .aws-sam/local/template.yaml
BUILD_LOG := .aws-sam/local-build.log
TEMPLATES := template.yaml infra/observability.yaml infra/github-deploy.yaml examples/caller-lambda/template.yaml
WHEELS := .aws-sam/wheels
CONTESTANTS := $(patsubst %,.aws-sam/contestants/%/template.yaml,Plain Bare Tutorial)
BARE := .aws-sam/contestants/Bare/template.yaml
SOURCES := template.yaml infra/observability.yaml requirements.txt functions/Makefile infra/trim_botocore.py $(shell find functions -name '*.py')

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: on-linux $(LOCAL)/ready $(RUNTIME)/ready $(ARTIFACT) ## Create invoices on the local stack, show them, stop
	@$(LOCAL)/bin/python -m infra.local demo

.PHONY: run
run: on-linux $(LOCAL)/ready $(RUNTIME)/ready $(ARTIFACT) ## Run the local stack until Ctrl-C
	@$(LOCAL)/bin/python -m infra.local run $(if $(PORT),--port $(PORT))

.PHONY: test
test: on-linux $(DEV)/ready $(LOCAL)/ready $(RUNTIME)/ready $(ARTIFACT) $(BROWSERS) $(FRAMEWORKS)/node_modules/ready $(BARE) $(WHEELS)/ready ## Run all tests
	@$(DEV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: lint
lint: $(DEV)/ready $(LOCAL)/ready $(SCAN)/ready $(LINTER)/node_modules/ready ## Check format, style, types, templates, contract, workflows and dependencies
	@$(DEV)/bin/ruff format --check .
	@$(DEV)/bin/ruff check .
	@$(DEV)/bin/mypy functions examples/caller-lambda/functions
	@$(SAM_OFFLINE) validate --lint --region us-east-1
	@$(SAM_OFFLINE) validate --lint --region us-east-1 --template examples/caller-lambda/template.yaml
	@$(SCAN)/bin/cfn-lint --regions us-east-1 --append-rules cfn_lint_serverless.rules --template $(TEMPLATES)
	@$(SCAN)/bin/checkov --framework cloudformation --skip-download --compact --quiet $(addprefix --file ,$(TEMPLATES))
	@$(SCAN)/bin/zizmor --offline --no-progress --quiet --pedantic .github/workflows
	@$(SCAN)/bin/python -m infra.scan.audit requirements.txt
	@$(REDOCLY) lint docs/openapi.yaml --config $(LINTER)/redocly.yaml

.PHONY: format
format: $(DEV)/ready ## Format the code
	@$(DEV)/bin/ruff format .
	@$(DEV)/bin/ruff check --fix .

.PHONY: build
build: $(LOCAL)/ready ## Build the artifact for Lambda with sam build
	@PYTHON="$(abspath $(LOCAL))/bin/python" $(SAM) build

.PHONY: deploy
deploy: build ## Build and deploy: make deploy ORIGINS=https://shop.example [PARAMETERS="MaxAmount=500"] [ENV=prod] [CONFIRM=no]
	@$(SAM) deploy --config-env $(ENV) $(if $(filter no,$(CONFIRM)),--no-confirm-changeset) \
		$(if $(ORIGINS)$(PARAMETERS),--parameter-overrides "$(SECTION_PARAMETERS) $(if $(ORIGINS),AllowedOrigins=$(ORIGINS)) $(PARAMETERS)")

.PHONY: smoke
smoke: ## Check a deployed stack: make smoke URL=https://… [ORIGIN=https://shop.example] [CREATE=1 [AMOUNT=5]]
	@$(firstword $(wildcard $(LOCAL)/bin/python $(DEV)/bin/python) $(PYTHON)) -m infra.smoke "$(URL)" \
		--origin="$(ORIGIN)" --create="$(CREATE)" --amount="$(AMOUNT)"

.PHONY: load
load: on-linux $(DEV)/ready $(LOCAL)/ready $(RUNTIME)/ready $(ARTIFACT) ## Load the local stack, print the figures into docs/scaling.md
	@command -v wrk > /dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && \
		echo "Installing Debian's wrk ..." && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends wrk > /dev/null; } || { \
		echo "This needs the load generator wrk: install it (on Debian and Ubuntu: sudo apt-get install wrk), and run the command again." >&2; exit 1; }
	@$(DEV)/bin/python -m tests.load

.PHONY: lock
lock: $(DEV)/ready ## Compile the .in files into the lock files
	@for name in requirements requirements-dev infra/local/requirements infra/local/lambda-runtime infra/scan/requirements \
		tests/benchmarks/contestants/bare/requirements tests/benchmarks/contestants/tutorial/requirements; do \
		$(DEV)/bin/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes \
			--custom-compile-command "make lock" $$name.in --output-file $$name.txt; \
	done

.PHONY: bench
bench: on-linux $(LOCAL)/ready $(RUNTIME)/ready $(ARTIFACT) $(CONTESTANTS) ## Measure start-up and requests into docs/benchmarks.md
	@$(LOCAL)/bin/python -m tests.benchmarks

.PHONY: docs
docs: $(DEV)/ready ## Print the tested fault matrix into docs/
	@$(DEV)/bin/python -m tests.integration.fault_matrix

.PHONY: openapi
openapi: $(DEV)/ready ## Print the contract into docs/openapi.yaml
	@PYTHONPATH=functions $(DEV)/bin/python -m infra.openapi

.PHONY: screenshot
screenshot: on-linux $(DEV)/ready $(LOCAL)/ready $(RUNTIME)/ready $(ARTIFACT) $(BROWSERS) ## Picture the demo shop for docs/
	@$(DEV)/bin/python -m tests.browser.screenshot

.PHONY: clean
clean: ## Remove everything that the other commands made
	rm -rf $(DEV) $(LOCAL) $(RUNTIME) $(SCAN) $(dir $(BROWSERS)) $(FRAMEWORKS)/node_modules $(LINTER)/node_modules .aws-sam .hypothesis .mypy_cache .pytest_cache .ruff_cache

.PHONY: on-linux
on-linux:
	@[ "$$(uname -s)" = Linux ] || { \
		echo "The local stack needs Linux (on Windows: WSL): Lambda's emulator is a Linux program." >&2; exit 1; }

$(DEV)/ready: requirements.txt requirements-dev.txt
	@$(call make-venv,$(DEV),requirements.txt requirements-dev.txt)

$(LOCAL)/ready: infra/local/requirements.txt
	@$(call make-venv,$(LOCAL),infra/local/requirements.txt)

$(RUNTIME)/ready: infra/local/lambda-runtime.txt
	@$(call make-venv,$(RUNTIME),infra/local/lambda-runtime.txt)

$(SCAN)/ready: infra/scan/requirements.txt
	@$(call make-venv,$(SCAN),infra/scan/requirements.txt)

$(LINTER)/node_modules/ready: $(LINTER)/package-lock.json | $(DEV)/ready
	@echo "Installing the linter of the contract ..."
	@$(NPM_CI) --prefix $(LINTER)
	@touch $@

$(ARTIFACT): $(SOURCES) | $(LOCAL)/ready
	@echo "Building the function for this machine ($(MACHINE_ARCH)) ..."
	@mkdir -p .aws-sam
	@LAMBDA_ARCH=$(MACHINE_ARCH) TEMPLATE_ARCH=$(MACHINE_ARCH) PYTHON="$(abspath $(LOCAL))/bin/python" \
		$(SAM_OFFLINE) build --build-dir $(dir $@) > $(BUILD_LOG) 2>&1 || { cat $(BUILD_LOG) >&2; exit 1; }
	@touch $@

# The packages of this machine's artifact: a test builds from them, without the network.
$(WHEELS)/ready: requirements.txt | $(LOCAL)/ready
	@$(LOCAL)/bin/python -m pip download --quiet --no-deps --require-hashes --requirement $< --dest $(dir $@) \
		--platform manylinux2014_$(MACHINE_ARCH:arm64=aarch64) --python-version 3.13 --implementation cp --only-binary :all:
	@touch $@

# What the benchmarks compare with, as `sam build` builds it without a recipe.
.aws-sam/contestants/Plain/template.yaml: $(SOURCES)
.aws-sam/contestants/%/template.yaml: tests/benchmarks/template.yaml $(shell find tests/benchmarks/contestants -type f) | $(LOCAL)/ready
	@echo "Building what the benchmarks compare with ($*) ..."
	@rm -rf .aws-sam/plain
	@mkdir -p .aws-sam/plain
	@cp -R functions/create_invoice.py functions/invoicing requirements.txt .aws-sam/plain
	@PATH="$(abspath $(LOCAL))/bin:$$PATH" $(SAM_OFFLINE) build $* --template tests/benchmarks/template.yaml \
		--build-dir $(dir $@) --parameter-overrides Architecture=$(MACHINE_ARCH) > $(BUILD_LOG) 2>&1 || { cat $(BUILD_LOG) >&2; exit 1; }
	@touch $@

# Chromium, Firefox ESR and WebKitGTK for the browser tests; the script says what it installs.
$(BROWSERS): infra/dev/browsers.sh | $(DEV)/ready
	@infra/dev/browsers.sh $(DEV) $(dir $@)

# The frameworks that the button is built with in the tests, and axe-core.
$(FRAMEWORKS)/node_modules/ready: $(FRAMEWORKS)/package-lock.json | $(DEV)/ready
	@echo "Installing the frameworks of the browser tests ..."
	@$(NPM_CI) --prefix $(FRAMEWORKS)
	@touch $@

# Makes the virtual environment $(1) from the lock files $(2). As root on Debian it installs Python 3.13 itself, if
# Debian has it and nobody named another one.
define make-venv
	is_3_13() { $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' > /dev/null 2>&1; }; \
	if [ $(PYTHON) = python3.13 ] && ! is_3_13 && [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		echo "Installing Debian's python3.13 ..."; \
		apt-get update -qq && apt-get install -qq -y python3.13 python3.13-venv > /dev/null || true; \
	fi; \
	is_3_13 || { \
		echo "Python 3.13 is needed: install it (https://www.python.org/downloads/), or name it: make PYTHON=/path/to/python3.13 ..." >&2; exit 1; }; \
	echo "Installing $(1) ..."; \
	$(PYTHON) -m venv --clear $(1); \
	$(1)/bin/python -m pip install --quiet --require-hashes $(addprefix --requirement ,$(2)); \
	touch $(1)/ready
endef
