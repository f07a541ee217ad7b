# `make` alone lists the targets. Every target that needs an environment makes .venv first, from requirements.lock.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The first Python that LiteFerry supports. `make venv PYTHON=/path/to/python` takes another.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 && { echo "$$python"; break; }; done)
VENV_PYTHON := .venv/bin/python
PYTEST_ARGS ?=
WILD_CACHE ?= .cache/wild

# Another project's modules on the path would shadow the pinned ones; without bytecode each of the tests' processes would compile
# every module of ours anew, a second each.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: venv
venv: .venv/.installed ## Make .venv with the exact versions of requirements.lock, and LiteFerry itself, editable

.venv/.installed: requirements.lock setup.py
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found; install one, or name it: make venv PYTHON=/path/to/python3.11" >&2; exit 1; }
	@if ! $(VENV_PYTHON) -m pip --version >/dev/null 2>&1; then \
		echo "Making .venv with $$("$(PYTHON)" --version)"; \
		"$(PYTHON)" -m venv --clear .venv || { rm -rf .venv; echo "No virtual environment with $(PYTHON); on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
	fi
	@echo "Installing $$(grep -c == requirements.lock) pinned packages into .venv: two to four minutes and 3.5 GB of disk the first time"
	@$(VENV_PYTHON) -m pip install -qq --disable-pip-version-check --no-deps -r requirements.lock
	@$(VENV_PYTHON) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "Done: .venv is ready"

# Three workers on two cores, since runs are often waiting, each with whole files; the order is that of tests/support/tiers.py. A part of the tests runs in one process.
BESIDE := -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: venv ## Every test but the nightly ones, and check beside them: a quarter of an hour; PYTEST_ARGS=tests/parity narrows it
	@log=$$(mktemp) && { $(MAKE) check >$$log 2>&1 & } ; checking=$$!; \
	$(VENV_PYTHON) -m pytest -m "not nightly" --durations=40 $(if $(PYTEST_ARGS),$(PYTEST_ARGS),$(BESIDE)); tests=$$?; \
	wait $$checking; checked=$$?; [ $$checked = 0 ] && tail -n 1 $$log || { cat $$log; echo "make check failed" >&2; }; rm -f $$log; \
	exit $$(( tests ? tests : checked ))

# Each part leaves a stamp with its seconds, so the same command goes on after an interruption, and ends with the sum.
NIGHT_PARTS := tests tfx kfp proof packages chaos fuzz soak scale truth
NIGHT := .cache/nightly

.PHONY: nightly
nightly: $(NIGHT_PARTS:%=$(NIGHT)/%) ## What `make test` leaves out, orchestrators and smaller campaigns: at most 100 minutes; resumes
	$(VENV_PYTHON) -m tests.campaigns $(NIGHT)
	@rm -rf $(NIGHT)

$(NIGHT)/%: | .venv/.installed
	@mkdir -p $(@D)
	@started=$$(date +%s) && $(MAKE) night-$* && echo "$$(date -u +%F) $$(($$(date +%s) - started))" > $@

.PHONY: $(NIGHT_PARTS:%=night-%)
night-tests:
	$(VENV_PYTHON) -m pytest -m nightly --durations=20 $(if $(PYTEST_ARGS),$(PYTEST_ARGS),-n 2 --dist loadfile)
night-tfx night-kfp night-proof night-packages: night-%: test-%
night-chaos:
	$(VENV_PYTHON) -m tests.campaigns.chaos --scale 0.1 --minutes 15
night-fuzz:
	$(VENV_PYTHON) -m tests.campaigns.fuzz --inputs 20000 --loads 100
	$(VENV_PYTHON) -m tests.campaigns.fuzz.configs --configs 20000
	$(VENV_PYTHON) -m tests.campaigns.fuzz.graphs --graphs 500
night-soak:
	$(VENV_PYTHON) -m tests.campaigns.soak --models 150
night-scale:
	$(VENV_PYTHON) -m tests.campaigns.scale --rows 400000
night-truth:
	$(VENV_PYTHON) -m tests.campaigns.truth --share 0.05 --folder $(NIGHT)/truth.kept

# The campaigns in full. What has ended leaves a stamp, so the same command goes on where it was stopped; chaos goes on between two
# of its cases. Truth keeps its own. When all have ended, their dates go into docs/contributing.md, and what they kept goes.
CAMPAIGNS := wild scale fuzz soak chaos truth
WEEKLY := .cache/weekly

.PHONY: weekly
weekly: $(CAMPAIGNS:%=$(WEEKLY)/%) ## The campaigns in full, five hours; stopped and started again it goes on
	$(VENV_PYTHON) -m tests.campaigns $(WEEKLY) --write docs/contributing.md
	@rm -rf $(WEEKLY) .cache/truth

$(WEEKLY)/%: | .venv/.installed
	@mkdir -p $(@D)
	@started=$$(date +%s) && $(MAKE) $* && echo "$$(date -u +%F) $$(($$(date +%s) - started))" > $@

# A layer on .venv: the packages of one lock, and below them all that .venv has. Seconds and megabytes, not minutes and gigabytes.
SITE = $$($(1) -c "import sysconfig; print(sysconfig.get_path('purelib'))")
define LAYER
@rm -rf $(@D)
@$(VENV_PYTHON) -m venv --without-pip $(@D)
@echo "import site; site.addsitedir('$(call SITE,$(VENV_PYTHON))')" > $(call SITE,$(@D)/bin/python)/below.pth
@$(VENV_PYTHON) -m pip --python $(@D)/bin/python install -qq --disable-pip-version-check --no-deps --no-warn-conflicts -r $<
@touch $@
endef

.venv-tfx/.installed: tests/orchestration/tfx-sdk.lock .venv/.installed
	$(LAYER)

.venv-tfx-full/.installed: tests/orchestration/tfx-full.lock .venv/.installed
	$(LAYER)

.venv-kfp/.installed: tests/orchestration/kfp.lock .venv/.installed
	$(LAYER)

# Its own, not a layer: Airflow and its providers pin hundreds of packages, and start LiteFerry with another interpreter.
.venv-airflow/.installed: tests/orchestration/airflow.lock
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found; name it: make test-airflow PYTHON=/path/to/python3.11" >&2; exit 1; }
	@rm -rf $(@D) && "$(PYTHON)" -m venv $(@D)
	@echo "Installing $$(grep -c == $<) pinned packages into $(@D): two to four minutes and 2.2 GB of disk"
	@$(@D)/bin/python -m pip install -qq --disable-pip-version-check --no-deps -r $<
	@touch $@

# Beam's portable engine, of the Beam that is locked, built once. Its Go modules, 0.9 GB, stay in the cache beside it.
PRISM := .cache/prism/bin/prism
BEAM_VERSION = $(shell sed -n 's/^apache-beam==//p' requirements.lock)

$(PRISM): requirements.lock
	@command -v go >/dev/null || { echo "No Go found; on Debian and Ubuntu: apt-get install golang, or https://go.dev/dl" >&2; exit 1; }
	@echo "Building Prism $(BEAM_VERSION): two minutes the first time"
	@GOFLAGS=-modcacherw GOPATH=$(CURDIR)/.cache/prism GOBIN=$(CURDIR)/.cache/prism/bin \
		go install github.com/apache/beam/sdks/v2/go/cmd/prism@v$(BEAM_VERSION)
	@touch $@

.PHONY: test-prism
test-prism: venv $(PRISM) ## The pipeline on Prism, Beam's portable engine: same facts, the wheel alone, models that do their worst
	LITEFERRY_PRISM=$(CURDIR)/$(PRISM) $(VENV_PYTHON) -m pytest tests/pipeline/test_prism.py $(PYTEST_ARGS)

# Flink itself, from PyPI: jars alone, which pipelines/flink/flink.sh starts.
FLINK_VERSION := 1.20.3
FLINK := .cache/flink/deps

$(FLINK)/lib:
	@command -v java >/dev/null || { echo "No Java found; on Debian and Ubuntu: apt-get install openjdk-17-jdk-headless" >&2; exit 1; }
	@echo "Fetching Flink $(FLINK_VERSION) from PyPI: 232 MB"
	@mkdir -p .cache/flink && $(VENV_PYTHON) -m pip download -qq --disable-pip-version-check --no-deps --no-build-isolation \
		--no-binary :all: --dest .cache/flink apache-flink-libraries==$(FLINK_VERSION)
	@tar xzf .cache/flink/apache-flink-libraries-$(FLINK_VERSION).tar.gz -C .cache/flink --strip-components=1 \
		apache-flink-libraries-$(FLINK_VERSION)/deps
	@rm .cache/flink/apache-flink-libraries-$(FLINK_VERSION).tar.gz

.PHONY: test-flink
test-flink: venv $(FLINK)/lib ## A Flink cluster of two hosts (needs root); jobs and faults on it where BEAM_FLINK_JOB_SERVER_JAR names the jar
	LITEFERRY_FLINK=$(CURDIR)/$(FLINK) $(VENV_PYTHON) -m pytest -rs tests/flink $(PYTEST_ARGS)

.PHONY: test-airflow
test-airflow: venv .venv-airflow/.installed ## The DAG of pipelines/, run by Airflow: blessed, not blessed, not started
	LITEFERRY_ORCHESTRATOR=airflow LITEFERRY_AIRFLOW=$(CURDIR)/.venv-airflow/bin/python \
		$(VENV_PYTHON) -m pytest tests/orchestration/test_airflow.py $(PYTEST_ARGS)

.PHONY: test-kfp
test-kfp: .venv-kfp/.installed ## The Kubeflow pipeline of pipelines/: compiled, its steps run here
	LITEFERRY_ORCHESTRATOR=kfp LITEFERRY_PYTHON=$(abspath $(VENV_PYTHON)) \
		.venv-kfp/bin/python -m pytest tests/orchestration/test_kubeflow.py $(PYTEST_ARGS)

.venv-proof/.installed: tests/orchestration/proof.lock
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found; name it: make test-proof PYTHON=/path/to/python3.11" >&2; exit 1; }
	@rm -rf $(@D) && "$(PYTHON)" -m venv $(@D)
	@$(@D)/bin/python -m pip install -qq --disable-pip-version-check --no-deps -r $<
	@touch $@

.PHONY: test-proof
test-proof: venv .venv-proof/.installed ## MLflow, OpenSSF model signing and CycloneDX take what a run writes; part of `make nightly`
	LITEFERRY_ORCHESTRATOR=proof LITEFERRY_PROOF=$(CURDIR)/.venv-proof/bin/python \
		$(VENV_PYTHON) -m pytest tests/orchestration/test_proof_tools.py $(PYTEST_ARGS)

.venv-packages/.installed: tests/packages/packages.lock .venv/.installed
	$(LAYER)

.PHONY: test-packages
test-packages: .venv-packages/.installed ## Models of KerasHub, Orbax, TensorFlow Text and Model Optimization by their own writers; part of `make nightly`
	LITEFERRY_PACKAGES=1 .venv-packages/bin/python -m pytest tests/packages $(PYTEST_ARGS)

.PHONY: test-tfx
test-tfx: .venv-tfx/.installed ## A real TFX pipeline with ml-pipelines-sdk alone; part of `make nightly`
	LITEFERRY_ORCHESTRATOR=tfx .venv-tfx/bin/python -m pytest tests/orchestration/test_tfx_local.py $(PYTEST_ARGS)

.PHONY: test-tfx-full
test-tfx-full: .venv-tfx-full/.installed ## The same with all of TFX: ImportExampleGen, standard artifacts, Pusher
	LITEFERRY_ORCHESTRATOR=tfx,tfx-full .venv-tfx-full/bin/python -m pytest tests/orchestration/test_tfx_local.py \
		tests/orchestration/test_tfx_full.py $(PYTEST_ARGS)

.PHONY: browser
browser: venv ## Open the pages of a real run in Chromium, which must be there (Debian: apt-get install chromium)
	LITEFERRY_BROWSER=required $(VENV_PYTHON) -m pytest tests/browser $(PYTEST_ARGS)

.PHONY: check
check: venv ## Formatter, linter and type checker; changes nothing
	$(VENV_PYTHON) -m ruff format --check --output-format concise .
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m mypy components setup.py tests $(wildcard pipelines benchmarks tools)

.PHONY: format
format: venv ## Let the formatter and the linter fix what they can
	$(VENV_PYTHON) -m ruff check --fix-only .
	$(VENV_PYTHON) -m ruff format .

.PHONY: demo
demo: venv ## Train a small fleet on real digits and export it into demo_output/
	.venv/bin/liteferry demo --output demo_output

.PHONY: wild
wild: venv ## Run on published checkpoints; WILD_CACHE=DIR keeps their files elsewhere than in .cache/wild
	$(VENV_PYTHON) -m tests.campaigns.wild --cache "$(WILD_CACHE)"

.PHONY: test-dataflow
test-dataflow: venv ## Submit a job to a local Dataflow service and execute what was staged; part of `make nightly`
	$(VENV_PYTHON) -m pytest tests/dataflow $(PYTEST_ARGS)

.PHONY: image
image: venv ## Do the Dockerfile's steps in environments that begin empty, as images do: 3 GB, some minutes
	LITEFERRY_IMAGE_TEST=clean $(VENV_PYTHON) -m pytest tests/dataflow/test_flex_template.py $(PYTEST_ARGS)

.PHONY: scale
scale: venv ## Two million sample rows in 16 shards through one model: memory and processors within their limits
	$(VENV_PYTHON) -m tests.campaigns.scale

.PHONY: chaos
chaos: venv ## Kill and starve runs for real, by the hundred; about half an hour, writes docs/reliability.md
	$(VENV_PYTHON) -m tests.campaigns.chaos --write docs/reliability.md $(if $(wildcard $(WEEKLY)),--results $(WEEKLY)/chaos.jsonl)

.PHONY: fuzz
fuzz: venv ## Feed broken and hostile files, architectures and graphs to what reads them; an hour, writes docs/reliability.md
	$(VENV_PYTHON) -m tests.campaigns.fuzz.configs
	$(VENV_PYTHON) -m tests.campaigns.fuzz.graphs
	$(VENV_PYTHON) -m tests.campaigns.fuzz --inputs 100000 --loads 500 --write docs/reliability.md

.PHONY: soak
soak: venv ## A thousand small checkpoints, kills on the way: memory and pace stay; a quarter of an hour, writes docs/reliability.md
	$(VENV_PYTHON) -m tests.campaigns.soak --write docs/reliability.md

.PHONY: truth
truth: venv ## Some thousand models of every layer, state and file against their live answers; two hours, writes docs/checkpoints.md
	$(VENV_PYTHON) -m tests.campaigns.truth --write docs/checkpoints.md

.PHONY: bench
bench: venv ## Time LiteFerry beside the script people write today; about an hour, writes docs/benchmarks.md
	$(VENV_PYTHON) -m benchmarks --write

# Each Python that is here and that setup.py promises resolves for itself: some packages have other versions for the newer ones. A dry
# run of pip resolves from the packages' metadata alone, so it takes seconds and installs nothing.
LOCK_PYTHONS ?= python3.11 python3.12 python3.13

.PHONY: lock
lock: venv ## Write requirements.lock anew with the newest versions that setup.py allows
	@echo "Resolving for $(LOCK_PYTHONS): about a minute each"
	@rm -rf .venv-lock && mkdir .venv-lock
	@set -e; for python in $(LOCK_PYTHONS); do \
		"$$python" -m venv .venv-lock/$$python; \
		.venv-lock/$$python/bin/python -m pip install -qq --upgrade pip; \
		.venv-lock/$$python/bin/python -m pip install -qq --dry-run --ignore-installed --report .venv-lock/$$python.json '.[demo,dev]'; \
	done
	@$(VENV_PYTHON) -m tools.write_lock $(LOCK_PYTHONS:%=.venv-lock/%.json) > .venv-lock/requirements.lock
	@mv .venv-lock/requirements.lock requirements.lock
	@rm -rf .venv-lock
	@echo "Wrote requirements.lock; run make test, then commit it"

.PHONY: clean
clean: ## Remove what builds, tests and the demo leave behind, all environments but .venv; .cache stays, too
	rm -rf build dist components/*.egg-info demo_output .hypothesis .mypy_cache .pytest_cache .ruff_cache .venv-*
	find components tests -name __pycache__ -type d -prune -exec rm -rf {} +
