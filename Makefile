# Rollcall. Plain `make` says what there is.

# Some machines check a tree out under another user than builds it, and Git then refuses to tell Go about it.
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)

VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),dev)
LDFLAGS := -X main.version=$(VERSION)
TEST_TIMEOUT ?= 20m

# Where initdb is looked for; the same places as in devenv/find.go.
POSTGRES_PLACES := $(subst :, ,$(PATH)) /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* \
	/usr/local/pgsql/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin

.DEFAULT_GOAL := help

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: tools build ## restore the example fleet and watch its roll call, with the web UI, until Ctrl-C
	@bin/starter dev --demo examples

.PHONY: demo
demo: tools build ## play the example roll call to its end; not 0 if a device is unaccounted for
	@bin/starter dev --demo examples --until-done

.PHONY: build
build: ## build bin/starter, bin/worker and bin/gateway, as the image has them: without C, which is linked at each start
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./starter ./worker ./gateway

.PHONY: test
test: tools compiler ## run all tests with the race detector
	CGO_ENABLED=1 go test -race -timeout $(TEST_TIMEOUT) ./...

.PHONY: bench
bench: tools ## measure a whole roll call against the floor (a quarter of an hour): make bench BENCH="rollcall --devices 1000"
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./bench
	@bin/bench $(or $(BENCH),rollcall)

.PHONY: bench-server
bench-server: ## build bin/temporal-postgres, a Temporal server on PostgreSQL for the benches; the first time takes minutes
	@mkdir -p bin
	cd tools/temporal-postgres && CGO_ENABLED=0 go build -trimpath -o ../../bin/temporal-postgres .

.PHONY: lint
lint: bin/.linters ## check with workflowcheck, go vet, staticcheck and gofumpt
	bin/workflowcheck -config tools/lint/workflowcheck.yaml ./workflows/...
	go vet ./...
	go vet -tags record ./e2e
	bin/staticcheck ./...
	@unformatted=$$(bin/gofumpt -l .) && if [ -n "$$unformatted" ]; then \
		echo "not formatted with gofumpt (bin/gofumpt -w .):" >&2; echo "$$unformatted" >&2; exit 1; fi

.PHONY: tools
tools: postgresql ## get what development needs: the temporal command in bin/, and PostgreSQL with apt
ifeq (,$(shell command -v temporal 2>/dev/null))
tools: bin/temporal
endif

bin/temporal: tools/temporal/go.mod tools/temporal/go.sum
	@echo "building the temporal command; the first time this takes some minutes"
	@mkdir -p bin
	cd tools/temporal && CGO_ENABLED=0 go build -trimpath -o ../../bin/temporal tool
	@touch $@

bin/.linters: tools/lint/go.mod tools/lint/go.sum
	@mkdir -p bin
	cd tools/lint && go build -o ../../bin/ tool
	@touch $@

# $(call install,PACKAGES) is for root on Debian and its relatives; anybody else is told what to do.
define install
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get -o DPkg::Lock::Timeout=120 update -q && \
		DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -q -y --no-install-recommends $(1); \
	else \
		echo "missing: $(1). Install it first, for example with: sudo apt-get install $(1)" >&2; exit 1; \
	fi
endef

.PHONY: postgresql
postgresql:
ifeq (,$(wildcard $(addsuffix /initdb,$(POSTGRES_PLACES))))
	$(call install,postgresql)
endif

# The race detector is written in C.
.PHONY: compiler
compiler:
ifeq (,$(shell command -v $$(go env CC) 2>/dev/null))
	$(call install,gcc libc6-dev)
endif

.PHONY: record
record: tools ## record histories for the replay tests, once for each release: make record RELEASE=v5 ONLY=TestRecordWatch
	ROLLCALL_RECORD=$(RELEASE) go test -tags record -run '$(or $(ONLY),TestRecord)' -count=1 ./e2e

.PHONY: clean
clean: ## remove bin/ and the files of `starter dev`
	@if [ -f .rollcall/pid ] && kill -0 "$$(cat .rollcall/pid)" 2>/dev/null; then \
		echo "starter dev runs in this folder (process $$(cat .rollcall/pid)); end it with Ctrl-C first" >&2; exit 1; fi
	@if [ -f .rollcall/postgres/location ]; then \
		dir=$$(cat .rollcall/postgres/location); case "$$dir" in /var/lib/rollcall/?*) rm -rf "$$dir";; esac; fi
	rm -rf bin .rollcall
