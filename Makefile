# Rollcall. Plain `make` says what there is.

# Some machines check a tree out under another user than builds it, and Git then refuses to tell Go about it.
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)

# A release is a tag such as v0.2.0; before the first one a build is on its way to it.
VERSION ?= $(or $(patsubst v%,%,$(shell git describe --tags --dirty 2>/dev/null)),0.1.0-dev)
COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
# When the commit was made, so that two builds of it are the same.
DATE ?= $(shell TZ=UTC0 git show -s --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd HEAD 2>/dev/null)
LDFLAGS := $(foreach of,version=$(VERSION) commit=$(COMMIT) date=$(DATE),-X rollcall/internal/version.$(of))
TEST_TIMEOUT ?= 20m

# Where initdb is looked for; the same places as in internal/devenv/find.go.
POSTGRES_PLACES := $(subst :, ,$(PATH)) /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* \
	/usr/local/pgsql/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin

.DEFAULT_GOAL := help

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# make run FLIGHTCTL=fake and make demo FLIGHTCTL=fake play beside a fake Flight Control.
BESIDE = $(if $(FLIGHTCTL),$(if $(filter fake,$(FLIGHTCTL)),--flightctl-fake,$(error FLIGHTCTL is $(FLIGHTCTL); it must be fake or empty)))

.PHONY: run
run: tools build ## restore the example fleet and watch its roll call, with the web UI, until Ctrl-C
	@bin/starter dev --demo examples $(BESIDE)

.PHONY: demo
demo: tools build ## play the example roll call to its end; not 0 if a device is unaccounted for
	@bin/starter dev --demo examples --until-done $(BESIDE)

.PHONY: build
build: ## build bin/starter, bin/worker and bin/gateway, as the image has them: without C, which is linked at each start
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./starter ./worker ./gateway

.PHONY: test
test: tools pgbouncer redis chromium compiler ## run all tests with the race detector
	CGO_ENABLED=1 go test -race -timeout $(TEST_TIMEOUT) ./...
	cd bench && CGO_ENABLED=1 go test -race ./...

# The server is built from source, which takes minutes the first time, so that it is not part of `make test`.
.PHONY: test-identity
test-identity: tools bench-server ## test who decides on a Temporal server that knows its callers by their tokens
	go test -count=1 -timeout $(TEST_TIMEOUT) -run '^TestIdentity' ./starter

FUZZ_TIME ?= 1m

.PHONY: fuzz
fuzz: ## run each fuzz target for a minute: make fuzz FUZZ_TIME=10s
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go); do \
			echo "$$dir $$target"; go test $$dir -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZ_TIME) || exit 1; \
		done; done

# No run begins after that. One lasts up to seven minutes, so that all take twenty at most.
FAULTS_FOR ?= 13m

.PHONY: faults
faults: tools ## break real processes at random and check that nothing is lost: make faults FAULTS_FOR=5m SEED=42
	ROLLCALL_FAULTS_FOR=$(FAULTS_FOR) ROLLCALL_FAULTS_SEED=$(SEED) go test -count=1 -timeout 1h -v -run TestLong ./internal/faults

.PHONY: bench
bench: tools ## measure a whole roll call against the floor (a quarter of an hour): make bench BENCH="rollcall --devices 1000"
	cd bench && go build -trimpath -ldflags '$(LDFLAGS)' -o ../bin/ .
	@bin/bench $(or $(BENCH),rollcall)

.PHONY: bench-server
bench-server: ## build bin/temporal-postgres, a Temporal server on PostgreSQL for the benches; the first time takes minutes
	@mkdir -p bin
	cd tools/temporal-postgres && CGO_ENABLED=0 go build -trimpath -o ../../bin/temporal-postgres .

.PHONY: lint
lint: bin/.linters licences ## check with workflowcheck, golangci-lint and gofumpt, and the licences of dependencies
	bin/workflowcheck -config tools/lint/workflowcheck.yaml ./workflows/...
	bin/golangci-lint run ./...
	cd bench && go mod tidy -diff && ../bin/golangci-lint run --disable gosec ./... # it starts programs
	go test -count=1 ./internal/prose
	@unformatted=$$(bin/gofumpt -l .) && if [ -n "$$unformatted" ]; then \
		echo "not formatted with gofumpt (bin/gofumpt -w .):" >&2; echo "$$unformatted" >&2; exit 1; fi

.PHONY: licences
licences: bin/.release ## check that the licences of all dependencies are ones that Rollcall may be shipped with
	@bin/cyclonedx-gomod mod -json -licenses . 2>/dev/null >bin/.licences.json && \
		cd tools/release && go run ./licences <../../bin/.licences.json

.PHONY: package
package: bin/.release ## make dist/: deb, rpm, tarball, SBOM and checksums (for another machine: GOARCH=arm64)
	@BIN=bin VERSION='$(VERSION)' COMMIT='$(COMMIT)' DATE='$(DATE)' LDFLAGS='$(LDFLAGS)' packaging/build.sh

.PHONY: test-package
test-package: package ## install the deb of dist/ into a scratch root, check its units and run its programs
	go test -count=1 -tags package ./packaging

.PHONY: test-chart
test-chart: bin/helm ## lint and render deploy/helm/rollcall, and decode what comes out as Kubernetes' own types
	cd tools/chart && go test -count=1 ./...

bin/helm: tools/chart/go.mod tools/chart/go.sum
	@mkdir -p bin
	cd tools/chart && CGO_ENABLED=0 go build -trimpath -o ../../bin/ tool
	@touch $@

bin/.release: tools/release/go.mod tools/release/go.sum
	@mkdir -p bin
	cd tools/release && CGO_ENABLED=0 go build -trimpath -o ../../bin/ tool
	@touch $@

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

# One test of flightctl/ runs against the program that Flight Control's key-value store is made of.
.PHONY: redis
redis:
ifeq (,$(shell command -v redis-server 2>/dev/null))
	$(call install,redis-server)
endif

# One test of e2e/webui/ looks at Temporal's web UI with it.
.PHONY: chromium
chromium:
ifeq (,$(shell command -v chromium || command -v chromium-browser || command -v google-chrome))
	$(call install,chromium)
endif

# A test leads a connection through it.
.PHONY: pgbouncer
pgbouncer:
ifeq (,$(wildcard $(addsuffix /pgbouncer,$(subst :, ,$(PATH)) /usr/sbin)))
	$(call install,pgbouncer)
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

.PHONY: reference
reference: ## write docs/reference from the code
	UPDATE=1 go test -count=1 -run 'TestReference|TestErrorCodes|TestExitCodes|TestMetrics|TestConfiguration|TestHTTPAPI' ./internal/reference ./starter ./worker ./gateway

.PHONY: clean
clean: ## remove bin/ and the files of `starter dev`
	@if [ -f .rollcall/pid ] && kill -0 "$$(cat .rollcall/pid)" 2>/dev/null; then \
		echo "starter dev runs in this folder (process $$(cat .rollcall/pid)); end it with Ctrl-C first" >&2; exit 1; fi
	@if [ -f .rollcall/postgres/location ]; then \
		dir=$$(cat .rollcall/postgres/location); case "$$dir" in *..*) ;; /var/lib/rollcall/?*) rm -rf "$$dir";; esac; fi
	rm -rf bin dist .rollcall
