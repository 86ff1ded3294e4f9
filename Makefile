# weft: build, test, race, lint, sim, chaos, soak, schedext, fuzz, bench, demo; deps installs the compilers that tests and examples need.

SHELL       := bash
.SHELLFLAGS := -o pipefail -ec
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
HOST        := internal/sandbox/hostbin/weft-host
LDFLAGS     := -s -w -X github.com/weft-run/weft/internal/cli.commit=$(VERSION)
STATIC      := -linkmode external -extldflags "-static -Wl,--gc-sections"
GOBUILD     := go build -trimpath -buildvcs=false
EXPERIMENTS := cold-start data-transfer end-to-end breakdown p99 resources invoke steps recovery cold-process cpu cpu-ablation cpu-sensitivity services seq
SEEDS       ?= 2000
FUZZTIME    ?= 1m
FOR         ?= 60s
SEED        ?= 0

.PHONY: all js deps build host test unit race sim chaos soak schedext schedext-object lint fuzz bench peers smoke demo clean

all: build

deps: ## what the C, Rust and Python examples and cgo need; does nothing when it is there
	@.ci/deps

build: host ## bin/weft, one self-contained binary
	CGO_ENABLED=0 $(GOBUILD) -ldflags '$(LDFLAGS)' -o bin/weft ./cmd/weft

host: ## the domain host, static, where bin/weft embeds it from
	@.ci/deps build
	@echo 'CGO_ENABLED=1 go build -o $(HOST) ./cmd/weft-host'; said=$$(CGO_ENABLED=1 $(GOBUILD) -tags netgo,osusergo -ldflags '-s -w $(STATIC)' -o $(HOST) ./cmd/weft-host 2>&1) || { echo "$$said" >&2; exit 1; } # the linker warns of what static programs cannot load

test: ## everything that CI runs
	@SECONDS=0; $(MAKE) --no-print-directory deps build js lint race sim chaos fuzz smoke && echo "ok  	make test	$${SECONDS}s"

js: ## the engine of examples/javascript, where there is npm; its test is skipped without
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory -C examples/javascript; else echo 'js: no npm, examples/javascript is not tested'; fi

unit: build ## the tests without the race detector
	WEFT=$(CURDIR)/bin/weft go test ./...

race: build ## the tests with the race detector, which by default has every program, commands of scripts too, sleep for a second at its end; some only wait, so one more runs than there are processors
	WEFT=$(CURDIR)/bin/weft GORACE=atexit_sleep_ms=20 go test -race -vet=off -p $$(($$(nproc) + 1)) -timeout 15m ./...

schedext: ## the tests of sched_ext, on a kernel that has it in a virtual machine without KVM; KERNEL and RUN choose
	@.ci/schedext

schedext-object: ## the scheduler for the kernel, compiled; committed, so that building weft needs no clang
	cd internal/cpu/schedext && clang -target bpfel -mcpu=v3 -O2 -g -Wall -Werror -c tiers.c -o tiers.o && llvm-strip -g tiers.o

lint: ## vet, staticcheck, formatting; the rules of internal/lint run with the tests
	@test -z "$$(find . -name '*.go' -not -path '*/testdata/*' -exec gofmt -l {} + | tee /dev/stderr)" || { echo 'make lint: run gofmt -w on the files above' >&2; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

sim: ## lives and deaths of simulated nodes: SEEDS of them, 2,000 take a minute
	go test -count=1 -timeout 10m ./internal/sim -run TestSeeds -v -args -seeds $(SEEDS)

chaos: build ## kills bin/weft FOR a while, a minute by default, with runs and with services, and keeps another one busy (soak) meanwhile; SEED says how, and repeats what failed
	@$(MAKE) --no-print-directory -j3 --output-sync chaos-TestChaos chaos-TestServices chaos-TestSoak

chaos-%:
	WEFT=$(CURDIR)/bin/weft go test -count=1 -timeout 0 ./internal/chaos -run '^$*$$' -v -args -for $(FOR) -seed $(SEED)

soak: build chaos-TestSoak ## keeps bin/weft busy FOR a while, a minute by default, and looks at what grows

fuzz: ## every Fuzz target for its share of FUZZTIME
	@.ci/fuzz $(FUZZTIME)

bench: build ## every experiment in full; tables, CSV, JSON and plots in out/bench
	for x in $(EXPERIMENTS); do bin/weft bench $$x --out out/bench; done

peers: ## what weft bench steps is compared with: DBOS Go over a PostgreSQL that it starts and removes
	@.ci/deps peers
	cd bench/peers && $(GOBUILD) -o bin/dbos ./dbos && go vet ./...

smoke: build ## every Go benchmark once, and every experiment for seconds: its outputs are checked, its figures mean nothing
	go test -run '^$$' -bench . -benchtime 1x ./...
	for x in $(filter-out seq,$(EXPERIMENTS)); do bin/weft bench $$x --quick --budget 5s -o csv; done
	bin/weft bench seq --app counter --quick --budget 5s -o csv

demo: build ## counts the words of every Go source file of the Go distribution
	@mkdir -p out && ln -sfn "$$(go env GOROOT)/src" examples/wordcount-go/src
	bin/weft run examples/wordcount-go --input '{}' --timeline --trace out/demo.svg

clean: ## what the targets above wrote
	rm -rf bin out $(HOST) examples/wordcount-go/src bench/peers/bin
