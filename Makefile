# Needs Python 3.11 and make; everything else is installed into .venv from the hashed requirements.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.complete
RUNNERS := .venv/runners
COMPOSER := .venv/composer
BEAM_GO := github.com/apache/beam/sdks/v2
BEAM_VERSION = $(shell sed -n 's/^apache-beam==\([0-9.]*\).*/\1/p' requirements.txt)
RUNNER_PARTS = beam-$(BEAM_VERSION) job-server flink worker

# Those of the longest files come first, so that no worker is left alone with one of them at the end.
TESTS := $(addprefix tests/,scheduler/ dataflow/ refresh/ runners/ browser/ deploy/)
TESTS += $(filter-out $(TESTS) tests/stack/ tests/support/,$(wildcard tests/*/ tests/test_*.py))
# One more than there are cores: for a fifth of their time the tests wait for a poll, a pause or a port.
TEST_WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# What starts Airflow, Beam or TensorFlow would otherwise compile them each time, where an image sets this, as many do.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup runners composer-env demo test check bench up emulator stack stack-test stack-down \
	stack-backup stack-restore worker-image composer lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install everything into .venv (about a minute)

$(STAMP): requirements.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "imagemill needs Python 3.11; name it with 'make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11'"; exit 2; }
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Beam's version is the locked one. A stamp is newer than what it was made from, so a second run does nothing.
runners: setup $(RUNNER_PARTS:%=$(RUNNERS)/%.complete) ## Install Prism and Flink for tests/runners (needs Go, Java, Maven)

$(RUNNERS)/beam-$(BEAM_VERSION).complete:
	GOBIN="$(CURDIR)/$(RUNNERS)/bin" go install -trimpath -ldflags='-s -w' \
		$(BEAM_GO)/go/cmd/prism@v$(BEAM_VERSION) $(BEAM_GO)/python/container@v$(BEAM_VERSION)
	mv $(RUNNERS)/bin/container $(RUNNERS)/bin/boot
	@touch $@

$(RUNNERS)/job-server.complete: tests/support/flink/pom.xml
	rm -rf $(RUNNERS)/job-server
	mvn --quiet --batch-mode --file $< dependency:copy-dependencies -DincludeScope=runtime \
		-DoutputDirectory="$(CURDIR)/$(RUNNERS)/job-server"
	@touch $@

$(RUNNERS)/flink.complete: tests/support/flink/requirements.txt
	rm -rf $(RUNNERS)/flink
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --target $(RUNNERS)/flink --requirement $<
	@touch $@

$(RUNNERS)/worker.complete: requirements.txt pyproject.toml
	$(BIN)/uv venv --quiet --clear --seed --python $(BIN)/python $(RUNNERS)/worker
	$(BIN)/uv pip install --quiet --python $(RUNNERS)/worker/bin/python --constraint requirements.txt --requirement pyproject.toml
	@touch $@

# As Composer does: its own packages, and on top of them, without changing one, what we ask it to install.
composer-env: setup $(COMPOSER)/.complete ## Install what a Composer environment has into .venv/composer, for its tests

$(COMPOSER)/.complete: deploy/composer/environment.txt deploy/composer/requirements-composer.txt
	$(BIN)/uv venv --quiet --clear --seed --python $(BIN)/python $(COMPOSER)
	$(BIN)/uv pip install --quiet --python $(COMPOSER)/bin/python --require-hashes --requirement deploy/composer/environment.txt
	$(BIN)/uv pip install --quiet --python $(COMPOSER)/bin/python --constraint deploy/composer/environment.txt \
		--requirement deploy/composer/requirements-composer.txt
	@touch $@

demo: setup ## Publish the embedded dataset `shapes` through the real Airflow DAG
	$(BIN)/imagemill refresh shapes

test: setup ## Run the test suite
	$(BIN)/pytest --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

check: setup ## Lint, format, types, arrows between the layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## Measure, side by side; tables in benchmarks/results
	$(BIN)/python -m benchmarks

up: setup ## Airflow on this machine, with every dataset's DAG; stop it with Ctrl-C
	$(BIN)/python -m imagemill_airflow.environment -- $(BIN)/airflow standalone

emulator: setup ## A storage emulator for gs://; prints what to export, stop it with Ctrl-C
	@$(BIN)/python -m tests.support.gcs

# The images' labels.
export IMAGEMILL_VERSION = $(shell git describe --tags --always 2>/dev/null)
export IMAGEMILL_REVISION = $(shell git rev-parse HEAD 2>/dev/null)

stack: ## Bring the whole up with Docker Compose: Airflow, Postgres, an emulated bucket, a mail catcher
	@deploy/stack/preflight.sh
	docker compose up --build --wait || { docker compose logs --no-log-prefix --tail 5 secrets init; exit 1; }
	@echo "Airflow: http://localhost:$$(docker compose port api-server 8080 | sed 's/.*://'), with these logins:"
	@docker compose exec -T api-server cat /run/imagemill/logins.json
	@echo "Mail: http://localhost:$$(docker compose port mail 8025 | sed 's/.*://')"

stack-test: setup ## Test the stack and the worker image (needs Docker; about a quarter of an hour)
	$(BIN)/pytest tests/stack

stack-down: ## Stop the stack; PURGE=1 deletes its data too
	docker compose down --remove-orphans $(if $(PURGE),--volumes)

stack-backup: ## Back the stack up to FILE=backup.tar
	@deploy/stack/backup.sh "$(FILE)"

stack-restore: ## Bring the stack up from FILE=backup.tar; REPLACE=1 deletes what it holds now
	@deploy/stack/restore.sh "$(FILE)" $(if $(REPLACE),--replace)

worker-image: ## Build the image of a Beam worker that needs nothing else, imagemill-worker:dev
	docker buildx build --load --file deploy/worker/Dockerfile --tag imagemill-worker:dev \
		--build-arg BEAM=$(BEAM_VERSION) \
		--build-arg VERSION=$(IMAGEMILL_VERSION) --build-arg REVISION=$(IMAGEMILL_REVISION) .

composer: setup ## Deploy to Cloud Composer: ENVIRONMENT=mill LOCATION=europe-west1 STORE=gs://bucket/imagemill
	$(BIN)/python -m deploy.composer deploy --environment "$(ENVIRONMENT)" --location "$(LOCATION)" \
		$(if $(STORE),--store "$(STORE)")

lock: setup ## Compile requirements.txt anew from pyproject.toml
	$(BIN)/uv pip compile --quiet pyproject.toml --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --output-file requirements.txt

clean: ## Remove what the demo made (.venv stays)
	rm -rf .imagemill
