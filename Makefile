# Every word that the project knows. Nothing but Python 3.11 or newer (with venv and pip) is assumed: each word makes
# the environment that it needs, from the locks in requirements/, and the next time finds it ready.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
GENERATIONS := 2.4.1 3.7.0
REPORTS := $(GENERATIONS:%=.reports/%.json) .reports/no-client.json

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export NO_COLOR := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SILENT:
MAKEFLAGS += --no-print-directory

.PHONY: help
help: ## print these words
	sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

.PHONY: run
run: $(VENV)/.causerie ## start a server on the rehearsal model; more flags with ARGS="--port 9000"
	exec $(BIN)/causerie serve $(ARGS)

.PHONY: test
test: $(VENV)/.tools $(GENERATIONS:%=.venvs/mistralai-%/.causerie) ## run every test, with our client and both generations of the SDK
	mkdir -p .reports && rm -f $(REPORTS)
	echo "== four suites, two at a time; each is shown when it is done, the whole takes about seven minutes on two cores"
	$(MAKE) -j2 --output-sync=target test-rest test-ours $(GENERATIONS:%=test-sdk-%)
	echo "== the checklist"
	$(BIN)/python -m tests.requirements.check $(REPORTS)

# The longest come first.
.PHONY: test-rest
test-rest:
	echo "== the house, the units, the laws, the stores, the upstreams, the client, the chat, chaos, the pages"
	$(BIN)/python -m pytest -q --ignore=tests/conversation --ignore=tests/real_model --ignore=tests/surface $(ARGS)

.PHONY: test-ours
test-ours:
	echo "== conversations with our client, over HTTP and in process"
	REQUIREMENTS_REPORT=.reports/no-client.json $(BIN)/python -m pytest -q tests/conversation $(ARGS)
	echo "== our client beside mistralai 3.7.0"
	.venvs/mistralai-3.7.0/bin/python -m pytest -q tests/surface $(ARGS)

test-sdk-%:
	echo "== conversations with mistralai $*"
	REQUIREMENTS_REPORT=.reports/$*.json .venvs/mistralai-$*/bin/python -m pytest -q -m client tests/conversation $(ARGS)

.PHONY: check
check: $(VENV)/.tools ## lint, formatting, types, house rules
	echo "== ruff" && $(BIN)/ruff check --quiet --output-format concise .
	echo "== format" && $(BIN)/ruff format --quiet --check .
	echo "== types" && $(BIN)/mypy
	echo "== house rules" && $(BIN)/python -m pytest -q tests/test_house.py

.PHONY: fix
fix: $(VENV)/.tools ## mend what can be mended: lint and formatting
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

.PHONY: bench
bench: $(VENV)/.causerie .venvs/mistralai-3.7.0/.causerie ## measure beside a direct call of the same upstream, and beside the SDK
	$(BIN)/python benchmarks/run.py $(ARGS)

.PHONY: docs
docs: $(VENV)/.tools ## write the pages that come from the code
	$(BIN)/python -m scripts.reference $(ARGS)

.PHONY: mutants
mutants: $(VENV)/.tools .venvs/mistralai-3.7.0/.causerie ## break the code on purpose and see the tests turn red
	$(BIN)/python -m tests.mutants.run $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.causerie ## kill the server 1,000 times under load and see that nothing is lost
	$(BIN)/python -m tests.chaos.run $(ARGS)

.PHONY: real-model
real-model: .venvs/real-model/.lock $(GENERATIONS:%=.venvs/mistralai-%/.causerie) ## hold conversations with a real, tiny model
	for generation in $(GENERATIONS); do \
	  echo "== a real model with mistralai $$generation"; \
	  .venvs/mistralai-$$generation/bin/python -m pytest -q -m real_model tests/real_model $(ARGS) || exit 1; \
	done

# ---- environments

# A lock that changed makes its environment from scratch, so that nothing of the old one stays behind.
define environment
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Causerie needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Name another: make PYTHON=python3.11 ..." % sys.version_info[:2])'
	echo "== making $(@D) from $<"
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install -qq --require-virtualenv -r $<
	touch $@
endef

$(VENV)/.lock: requirements/base.txt
	$(environment)

.venvs/mistralai-%/.lock: requirements/sdk-%.txt
	$(environment)

.venvs/%/.lock: requirements/%.txt
	$(environment)

%/.causerie: %/.lock pyproject.toml src/causerie/version.py
	$(@D)/bin/python -m pip install -qq --no-build-isolation --no-deps --editable .
	touch $@

$(VENV)/.tools: requirements/dev.txt $(VENV)/.causerie
	echo "== adding the tools of $< to $(@D)"
	$(@D)/bin/python -m pip install -qq -r $<
	touch $@

# Without this, make would take the stamps for leftovers and delete them.
.SECONDARY:

# ---- locks, made on the oldest Python that is supported

LOCKS := base dev sdk-2.4.1 sdk-3.7.0 lock real-model
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" .venvs/lock/bin/pip-compile --quiet --strip-extras --annotation-style=line \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

.PHONY: lock
lock: .venvs/lock/.lock ## write the locks anew, on Python 3.11; ARGS="--upgrade" takes the newest versions
	.venvs/lock/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "say PYTHON=python3.11")'
	for name in $(LOCKS); do \
	  echo "== requirements/$$name.txt"; \
	  sources=requirements/$$name.in; extra=--generate-hashes; \
	  case $$name in \
	    base) sources="pyproject.toml requirements/build.in" ;; \
	    lock) extra="--generate-hashes --allow-unsafe" ;; \
	    real-model) extra= ;; \
	  esac; \
	  $(COMPILE) $$extra $(ARGS) --output-file requirements/$$name.txt $$sources || exit 1; \
	done
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements/real-model.txt
