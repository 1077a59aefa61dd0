# Zicht op. `make` lists the targets; `make demo` and `make test` are all a stranger needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
export ZICHT_HOME ?= $(CURDIR)/var
export UV_PROJECT_ENVIRONMENT ?= $(CURDIR)/.venv
# A refresh starts many processes: what is imported need not be compiled anew in each of them.
unexport PYTHONDONTWRITEBYTECODE

# uv from the PATH when it is new enough, otherwise one of our own, from the package registry.
UV := $(shell command -v uv 2>/dev/null || echo $(CURDIR)/.uv/bin/uv)
RUN := $(UV) run --frozen --no-sync

.PHONY: help setup demo test test-fast test-service test-spark postgresql java bench-intake bench-synth bench-bulk bench-soak bench-disclosure bench-attack bench-properties bench-growth bench-profile bench-themes bench-forecast bench-nowcast up lint format clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(CURDIR)/.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9'

setup: $(UV) ## make the environment in .venv (fetches uv when it is missing)
	@$(UV) sync --frozen --quiet --compile-bytecode

demo: setup ## sample deliveries through the real DAGs to a release, in ZICHT_HOME (./var)
	@$(RUN) zicht demo

test: setup postgresql ## all tests
	$(RUN) pytest -n 3 --dist loadfile --no-loadscope-reorder

test-fast: setup ## tests without Airflow services
	$(RUN) pytest -n 3 --dist loadfile --no-loadscope-reorder tests/unit tests/pipeline tests/fault

test-service: setup postgresql ## tests with a real scheduler, and what docker-compose.yml says, natively
	$(RUN) pytest tests/service

# In an environment of its own, so that what every other target runs in has the same packages with and without Spark.
test-spark: UV_PROJECT_ENVIRONMENT := $(CURDIR)/.uv/spark
test-spark: $(UV) java ## the microdata layer on DuckDB and on Spark: equal, cell by cell
	@$(UV) sync --frozen --quiet --extra spark
	$(RUN) pytest -s -m spark tests/spark

java: # what Spark runs on; installed where that is possible
	@command -v java >/dev/null 2>&1 \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	       && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends default-jre-headless; } \
	  || echo "Java is missing, so the comparison with Spark is skipped: apt-get install default-jre-headless"

postgresql: # what the test of docker-compose.yml needs; installed where that is possible
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	       && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; } \
	  || echo "PostgreSQL is missing, so the test of docker-compose.yml is skipped: apt-get install postgresql"

bench-intake: setup ## intake with gate 1 beside DuckDB's own COPY of the same file
	$(RUN) python bench/intake.py

bench-synth: setup ## rows per second of synthetic deliveries, and memory (REGION=PV25)
	$(RUN) python bench/synth.py $(or $(REGION),PV25)

bench-bulk: setup ## 400 archived deliveries at once: how many refreshes follow
	ZICHT_FLOOD_VERSIONS=20 $(RUN) pytest -q --durations=3 tests/pipeline/test_bulk.py

bench-soak: setup ## 500 random deliveries, a third faulty, killed at random ten times
	$(RUN) python bench/soak.py

bench-disclosure: setup ## protection of large tables beside what other tools make of them, attacked
	cd bench && $(RUN) python disclosure.py $(CASES)

bench-attack: setup ## the attacker on tables of 7,455 and 70,455 cells
	$(RUN) python bench/attack.py

bench-properties: setup ## many random tables: what Protect made, attacked
	ZICHT_PROPERTY_EXAMPLES=20 $(RUN) pytest -q tests/attack/test_protect_against_attack.py

bench-growth: setup ## signals of unexplained growth against what was planted (SEEDS="7 8 9")
	$(RUN) python bench/growth.py $(or $(SEEDS),7 8 9)

bench-profile: setup ## feature profiles against what was planted (REGIONS="PV28 PV30", SEEDS="7 8 9")
	$(RUN) python bench/profile.py $(or $(REGIONS),PV28 PV30) --seeds $(or $(SEEDS),7 8 9) --draws 200

bench-themes: setup ## three refreshes of all themes, each attacked (REGIONS="PV29"; none: the country)
	$(RUN) python bench/themes.py $(REGIONS)

bench-forecast: setup ## forecasts of the open series judged at every past moment, and the time of all indicators
	$(RUN) python bench/forecast.py open
	$(RUN) python bench/forecast.py size

bench-nowcast: setup ## planted changes in slope that forecasts see before the tax data comes (SEEDS="7 8 9")
	$(RUN) python bench/nowcast.py $(or $(SEEDS),7 8 9)

up: setup ## Airflow with UI and scheduler on ZICHT_HOME, until Ctrl-C (PORT=8080)
	@$(RUN) zicht up --port $(or $(PORT),8080)

lint: setup ## ruff, mypy, sqlfluff, yamllint
	$(RUN) ruff check .
	$(RUN) ruff format --check src dags tests samples
	$(RUN) mypy
	$(RUN) sqlfluff lint --disable-progress-bar --processes 2 dbt_project
	$(RUN) yamllint --strict .

format: setup ## write the code in the agreed form
	$(RUN) ruff check --fix .
	$(RUN) ruff format src dags tests samples

clean: ## remove the environment, caches and all state in ./var
	rm -rf .venv .uv .mypy_cache .ruff_cache .pytest_cache
	chmod -R u+w var 2>/dev/null || true
	rm -rf var
