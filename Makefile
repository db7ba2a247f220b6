# The commands of daily work; `make help` lists them.
# Paths are relative and tools are called as modules: any folder will do, deep or with spaces.

.DEFAULT_GOAL := help
.PHONY: help demo bench campaign test check install frontend lock clean

PY := .venv/bin/python

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 20

demo: install frontend ## a whole OMServer with three real Salt minions (ONCE=1, ENGINES=salt,ansible,func,ssh)
	@$(PY) -m omserver_master demo $(if $(filter-out 0,$(ONCE)),--once) $(if $(ENGINES),--engines "$(ENGINES)")

bench: ## measure one row of docs/performance.md side by side (ROW=P1 ... P9)
	@requirements/install test
	@$(PY) -m bench $(or $(ROW),P4)

campaign: ## kill a real OMServer at random for MINUTES=10; goes on where it stopped (STATE=campaign.json)
	@requirements/install test
	@$(PY) -m campaign --minutes $(or $(MINUTES),10) --state $(or $(STATE),campaign.json) $(CAMPAIGN)

test: ## everything the tests need, then all tests
	@requirements/install test
	@tests/install
	@$(MAKE) --no-print-directory frontend
	@$(PY) -m pytest -n 2 $(PYTEST)

check: ## ruff and mypy --strict
	@requirements/install test
	@$(PY) -m ruff check .
	@$(PY) -m mypy

install: ## .venv from the lock
	@requirements/install run

frontend: install ## the console's libraries from npm, by lock file
	@npm_config_cache="$(CURDIR)/.venv/npm" $(PY) -m omserver_web.frontend

lock: ## make the locks anew from setup.cfg (about eight minutes)
	@requirements/install test
	@requirements/lock

clean: ## remove what was built here; OMSERVER_HOME stays
	@rm -rf .venv node_modules omserver_web/frontend/node_modules omserver_web/static/vendor build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
