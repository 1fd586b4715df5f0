# The commands of this project. Each installs what it needs on first use; `make` alone lists them. What takes more than a
# few lines is a script in infra/dev/. Works with GNU make 3.81 and bash 3.2, which macOS has.

SHELL := /bin/bash
.DELETE_ON_ERROR:

export SAM_CLI_TELEMETRY := 0

# What commands take, such as make deploy ENV=prod; ENV names the section of samconfig.toml. None is read from the
# environment, where ENV means something else to POSIX shells.
$(foreach name,ORIGINS PARAMETERS CONFIRM ROLE BUCKET CHECK URL ORIGIN CREATE AMOUNT FILE ITEM SECRET_ARN YES PROVIDER_URL PROVIDER_HOSTS,\
	$(eval $(name) :=))
ENV := default
$(if $(filter default staging prod,$(ENV)),,$(error ENV is '$(ENV)': set it to default, staging or prod))

$(if $(shell pwd | LC_ALL=C tr -d 'A-Za-z0-9/._+@,=~\200-\377\n-' | sed 's/./x/g'),$(error The path of this folder has a \
	space or a character that shells or the local stack misread: move it to one of letters, digits and . _ - + @ , = ~ only))

# Virtual environments: for the code and its tests, for the local stack (SAM CLI pins its own boto3), in place of Lambda's
# managed runtime (the runtime client and nothing else), and for the scanners of `make lint`.
DEV := .venv
LOCAL := .venv-local
RUNTIME := .venv-lambda
SCAN := .venv-scan
ENVIRONMENTS := $(DEV) $(LOCAL) $(RUNTIME) $(SCAN)
export UV := .venv-uv/bin/uv

# Links to the browsers that the browser tests drive. From npm: what these tests build pages with, and the contract's linter.
BROWSERS := .browsers/ready
FRAMEWORKS := tests/browser/frameworks/node_modules/ready
LINTER := infra/openapi-lint/node_modules/ready

# What the local stack runs: the artifact of `sam build`, for this machine's kind of processor.
MACHINE_ARCH := $(if $(filter arm64 aarch64,$(shell uname -m)),arm64,x86_64)
ARTIFACT := .aws-sam/local/template.yaml
STACK := $(LOCAL)/ready $(RUNTIME)/ready $(ARTIFACT)
# The artifact's packages, from which it is built also without the network.
WHEELS := .aws-sam/wheels/ready
CONTESTANTS := $(patsubst %,.aws-sam/contestants/%/template.yaml,Plain Bare Tutorial)
SOURCES := template.yaml infra/observability.yaml requirements.txt functions/Makefile infra/architecture.awk infra/trim_packages.py \
	$(shell find functions -name '*.py')

# Makes files, then runs a command: infra/dev/with FILE... -- COMMAND...
WITH := MAKE="$(MAKE)" infra/dev/with

.PHONY: help demo run test unit lint format build preflight deploy secret provider prices smoke load lock bench docs openapi screenshot \
	clean on-linux
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: on-linux ## Create invoices on the local stack, pay, show what happens, stop
	@$(WITH) $(STACK) -- $(LOCAL)/bin/python -m infra.local demo

run: on-linux ## Run the local stack until Ctrl-C
	@$(WITH) $(STACK) -- $(LOCAL)/bin/python -m infra.local run $(if $(PORT),--port "$(PORT)")

# One process more than there are processors: tests also wait. In the order of their folders: the many quick unit tests
# come last, and fill what the long files leave.
test: on-linux ## Run all tests
	@$(WITH) $(DEV)/ready $(STACK) $(BROWSERS) $(FRAMEWORKS) .aws-sam/contestants/Bare/template.yaml -- \
		env PYTEST_XDIST_AUTO_NUM_WORKERS=$$(($$(nproc) + 1)) \
		$(DEV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

unit: ## Run the unit tests: seconds, without the local stack
	@$(WITH) $(DEV)/ready -- $(DEV)/bin/python -m pytest --quiet -n auto tests/unit

lint: ## Check format, style, types, templates, contract, workflows and dependencies
	@$(WITH) $(DEV)/ready $(LOCAL)/ready $(SCAN)/ready $(LINTER) -- infra/dev/lint

format: ## Format the code
	@$(WITH) $(DEV)/ready -- $(DEV)/bin/ruff format .
	@$(DEV)/bin/ruff check --fix .

build: ## Build the artifact for Lambda with sam build
	@$(WITH) $(LOCAL)/ready -- infra/dev/build
	@echo "Built .aws-sam/build. Next: make deploy ORIGINS=https://shop.example"

deploy: preflight ## Build and deploy: make deploy ORIGINS=https://shop.example [PARAMETERS="MaxAmount=500"] [ENV=prod] [CONFIRM=no]
	@ENV="$(ENV)" ORIGINS="$(ORIGINS)" PARAMETERS="$(PARAMETERS)" CONFIRM="$(CONFIRM)" ROLE="$(ROLE)" BUCKET="$(BUCKET)" \
		$(WITH) $(LOCAL)/ready -- infra/dev/deploy

preflight: ## Check whether a deployment can work: make preflight ENV=prod ORIGINS=https://shop.example [PARAMETERS=…]
	@$(WITH) $(LOCAL)/ready -- $(LOCAL)/bin/python -m infra.preflight "$(ENV)" "$(ORIGINS)" "$(PARAMETERS)"

secret: ## Put API key and shop id into the stack's secret: make secret ENV=prod; CHECK=1 asks whether the key is right
	@PYTHONPATH=functions $(WITH) $(DEV)/ready -- $(DEV)/bin/python -m infra.secret "$(ENV)" "$(CHECK)"

smoke: ## Check a deployed stack: make smoke URL=https://… [ORIGIN=https://shop.example] [CREATE=1 [AMOUNT=5|ITEM=mug]]
	@$(firstword $(wildcard $(LOCAL)/bin/python $(DEV)/bin/python) python3) -m infra.smoke "$(URL)" \
		--origin="$(ORIGIN)" --create="$(CREATE)" --amount="$(AMOUNT)" --item="$(ITEM)"

prices: ## Check a price list: make prices FILE=prices.json, or FILE=https://shop.example/prices.json
	@PYTHONPATH=functions $(WITH) $(DEV)/ready -- $(DEV)/bin/python -m infra.prices "$(FILE)"

load: on-linux ## Load the local stack, print the figures into docs/scaling.md
	@command -v wrk > /dev/null || infra/dev/apt-install wrk "The load generator wrk is needed"
	@$(WITH) $(DEV)/ready $(STACK) -- $(DEV)/bin/python -m tests.load

lock: ## Resolve pyproject.toml into uv.lock and requirements.txt
	@$(WITH) $(UV) -- infra/dev/lock

bench: on-linux ## Measure start-up and requests into docs/benchmarks.md
	@$(WITH) $(STACK) $(CONTESTANTS) -- $(LOCAL)/bin/python -m tests.benchmarks
	@$(LOCAL)/bin/python -m tests.benchmarks.first_click

docs: ## Print the tested fault matrix and the simulations of patience and of the watch into docs/
	@$(WITH) $(DEV)/ready -- infra/dev/docs

openapi: ## Print the contract into docs/openapi.yaml
	@PYTHONPATH=functions $(WITH) $(DEV)/ready -- $(DEV)/bin/python -m infra.openapi
	@echo "docs/openapi.yaml is up to date."

provider: ## Ask where your CryptoCloud key works: make provider [SECRET_ARN=…] [PROVIDER_URL=https://…] [YES=api.trybit.com]
	@$(WITH) $(LOCAL)/ready -- $(LOCAL)/bin/python -m infra.provider_check --secret-arn="$(SECRET_ARN)" --yes="$(YES)" \
		$(if $(PROVIDER_URL),--configured="$(PROVIDER_URL)") $(addprefix --host=,$(PROVIDER_HOSTS))

screenshot: on-linux ## Picture the demo shop for docs/
	@$(WITH) $(DEV)/ready $(STACK) $(BROWSERS) -- $(DEV)/bin/python -m tests.browser.screenshot

clean: ## Remove everything that the other commands made
	@infra/dev/clean $(ENVIRONMENTS) .venv-uv $(dir $(BROWSERS) $(FRAMEWORKS) $(LINTER)) .aws-sam \
		.hypothesis .mypy_cache .pytest_cache .ruff_cache

on-linux:
	@[ "$$(uname -s)" = Linux ] || { echo "The local stack needs Linux (on Windows: WSL), as Lambda's emulator does." >&2; exit 1; }

$(UV): infra/dev/uv.txt
	@infra/dev/install-uv .venv-uv

$(ENVIRONMENTS:=/ready): uv.lock | $(UV)
	@infra/dev/install-environment $(@D)

$(LINTER) $(FRAMEWORKS): %/node_modules/ready: %/package-lock.json | $(DEV)/ready
	@infra/dev/install-npm $*

$(WHEELS): requirements.txt | $(LOCAL)/ready
	@infra/dev/download-wheels $(@D) $(MACHINE_ARCH)

$(ARTIFACT): $(SOURCES) $(WHEELS) | $(LOCAL)/ready
	@infra/dev/build-local-artifact $(@D) $(MACHINE_ARCH)

# What the benchmarks compare with, as `sam build` builds it without a recipe.
.aws-sam/contestants/Plain/template.yaml: $(SOURCES)
.aws-sam/contestants/%/template.yaml: tests/benchmarks/template.yaml uv.lock $(wildcard tests/benchmarks/contestants/*/*.py) | $(LOCAL)/ready
	@infra/dev/build-contestant $* $(@D) $(MACHINE_ARCH)

$(BROWSERS): | $(DEV)/ready
	@infra/dev/install-browsers $(@D)
