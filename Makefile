# make help tells the targets. What goes into the static binary is built by deps/build.sh.
# One line a file; make V=1 shows the commands.

PREFIX = /usr/local
DESTDIR =
CC = gcc

# ARCH=aarch64 or armv7: build/ARCH/tdispatch, by Debian's cross compiler
HOST := $(subst armv7l,armv7,$(shell uname -m))
ARCH = $(HOST)
ifeq ($(ARCH),$(HOST))
BIN = tdispatch
DEPS = build/deps
BUILD = build/obj
else
BIN = build/$(ARCH)/tdispatch
DEPS = build/$(ARCH)/deps
BUILD = build/$(ARCH)/obj
endif
ROOT = $(DEPS)/root

SRC = $(wildcard *.c) $(wildcard $(addsuffix /*.c,base event conf pg sink report load ops))
OBJ = $(SRC:%.c=$(BUILD)/%.o) $(BUILD)/conf/embed.o
EMBEDDED = tdispatch.ini LICENSE $(wildcard dist/licenses/*.txt)

DIST = x86_64 aarch64 armv7

# run LINE,COMMAND: shows LINE alone, or nothing with make -s
run = $(if $(V),$(2),@$(if $(findstring s,$(firstword -$(MAKEFLAGS))),,echo '$(1)';) $(2))

WARN = -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wpointer-arith -Wcast-qual -Wsign-compare
STD = -std=c11 -D_GNU_SOURCE $(WARN)
HARDEN = -fstack-protector-strong -fstack-clash-protection -fPIE
CFLAGS = -O2 -g0 -DNDEBUG -fno-unwind-tables -fno-asynchronous-unwind-tables
LINK = -static-pie -s -Wl,--gc-sections -Wl,-z,relro,-z,now $(PACK_$(ARCH))
PACK_x86_64 = -Wl,-z,pack-relative-relocs        # which the others' linkers do not know
STATIC_CC = $(ROOT)/bin/musl-gcc
STATIC_LIBS = -lpq -lpgcommon_shlib -lpgport_shlib -lssl -lcrypto

SANITIZE = -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
PQ_INC = -I$(shell pg_config --includedir 2>/dev/null || echo /usr/include/postgresql)

all: $(BIN) ## build ./tdispatch, the static binary; ARCH=aarch64 or armv7: build/ARCH/tdispatch

$(BIN): $(OBJ)
	$(call run,LINK $@,$(STATIC_CC) $(LINK) -o $@ $(OBJ) $(STATIC_LIBS))

$(BUILD)/%.o: %.c Makefile $(DEPS)/.done
	@mkdir -p $(@D)
	$(call run,CC $<,$(STATIC_CC) $(STD) $(HARDEN) $(CFLAGS) -MMD -MP -c -o $@ $<)

$(BUILD)/conf/embed.o: conf/embed.S $(EMBEDDED) $(BUILD)/versions
	$(call run,AS $<,$(STATIC_CC) -DVERSIONS='"$(BUILD)/versions"' -c -o $@ $<)

# what --version -v prints
$(BUILD)/versions: $(DEPS)/.done dist/versions.awk
	@mkdir -p $(@D)
	@awk -f dist/versions.awk $(ROOT)/versions >$@

$(DEPS)/.done: deps/build.sh deps/fetch.sh deps/sources.lock $(if $(DEPS_SRC)$(DEPS_LIBPQ),asked-for)
	ARCH=$(ARCH) deps/build.sh $(DEPS) $(DEPS_SRC)

# other sources than those of before may be asked for
asked-for:

-include $(OBJ:.o=.d)

dev: tdispatch-dev ## build ./tdispatch-dev with the system's libpq and sanitizers (CC=clang too)

# native PROGRAM,FOLDER: links PROGRAM to the system's libraries, with objects in FOLDER and the
# flags FLAGS_NAME, where NAME is the last part of FOLDER.
define native
$(1): $(SRC:%.c=$(2)/%.o) $(2)/conf/embed.o
	@mkdir -p $$(@D)
	$$(call run,LINK $$@,$$(CC) $$(FLAGS_$(notdir $(2))) -o $$@ $$^ -lpq -lssl -lcrypto)

$(2)/%.o: %.c Makefile | dev-tools
	@mkdir -p $$(@D)
	$$(call run,CC $$<,$$(CC) $$(STD) $$(FLAGS_$(notdir $(2))) $$(PQ_INC) -MMD -MP -c -o $$@ $$<)

$(2)/conf/embed.o: conf/embed.S $(EMBEDDED) | dev-tools
	@mkdir -p $$(@D)
	$$(call run,AS $$<,$$(CC) -c -o $$@ $$<)

-include $(SRC:%.c=$(2)/%.d)
endef

FLAGS_dev = $(SANITIZE)
# Growing moves every buffer, and the TORTURE_FAIL-th allocation fails: base/buf.c.
FLAGS_torture = $(SANITIZE) -DTORTURE
# Without sanitizers, as valgrind and a malloc that fails need it.
FLAGS_plain = -g -O1
NATIVE = build/native/$(notdir $(lastword $(CC)))
$(eval $(call native,tdispatch-dev,$(NATIVE)/dev))
$(eval $(call native,build/test/tdispatch-torture,$(NATIVE)/torture))
$(eval $(call native,build/test/tdispatch-plain,$(NATIVE)/plain))

dev-tools:
	@deps/install.sh dev

build/test/nomem.so: test/fuzz/nomem.c
	@mkdir -p $(@D)
	$(call run,CC $<,$(CC) $(STD) -O1 -fPIC -shared -o $@ $<)

demo: tdispatch ## the story in 20 seconds: a throw-away PostgreSQL, a stream, a kill -9, equal sums
	demo/run.sh

test: tdispatch dev ## all tests; the last line is "N passed, N failed"
	test/run.sh

image-test: ## build the image of Dockerfile without a registry, and run it in an empty root (root only; minutes)
	test/image.sh

crash-test: tdispatch ## kill it at every message and 200 times under load; writes test/CRASH.md (some minutes)
	test/crash.sh

fault-test: tdispatch dev ## all that can go wrong, made to happen; writes test/FAULTS.md (long)
	test/faults.sh

bench: tdispatch ## measure beside psql and a Python consumer; writes bench/RESULTS.md (long)
	bench/run.sh
	bench/chart.sh

chart: ## draw bench/speed.svg from bench/RESULTS.md
	bench/chart.sh

bench-copy: tdispatch ## measure --from beside psql COPY, INSERT .. SELECT, CREATE TABLE AS; writes bench/COPY.md
	bench/copy.sh

bench-quick: tdispatch ## a minute's version: are all tables equal?
	bench/run.sh quick

fuzz: ## libFuzzer on all that reads events and configs, FUZZ_SECONDS=60 each (clang)
	@deps/install.sh dev fuzz
	test/fuzz.sh

torture: ## every buffer moves as it grows, every allocation fails once (long)
	test/torture.sh

valgrind: ## end-to-end cases under memcheck: no error, no leak (long)
	@deps/install.sh dev valgrind
	test/valgrind.sh

model-test: tdispatch dev ## random operations on real servers beside an oracle, SECONDS=3600; writes test/MODEL.md (long)
	test/model.sh $(SECONDS)

histories: tdispatch dev ## random histories of rows beside a model in SQL, N=10000 SEED=random (long)
	test/histories.sh

ticker-soak: tdispatch ## ten minutes of ticks and rotation each second, and two of ours beside a pgqd; writes test/TICKER.md
	test/soak.sh

latency: tdispatch ## from a tick to its rows on the target: median and p99, woken by PgQue, and with PgQ (a minute)
	TICKS=$${TICKS:-200} TDISPATCH=./tdispatch test/e2e.sh 34:a_tick_wakes 34:a_tick_is_found

model-mutate: dev ## put faults into a copy, one at a time: does the model test find each? (half an hour)
	test/mutants.sh model

history-mutate: dev ## put faults into a copy, one at a time: does a history find each? (some minutes)
	test/mutants.sh histories

mutate: ## change one line of the program at a time: does a test notice? (some minutes)
	test/mutants.sh

lint: ## clean under gcc and clang, layers in order, man pages well formed
	test/lint.sh

check-layers: $(OBJ) ## prove that files call only files of a lower level
	@test/layers.sh $(OBJ)

install: tdispatch ## install under $(DESTDIR)$(PREFIX): program, man pages, sample, unit, completion
	install -D -m 755 tdispatch $(DESTDIR)$(PREFIX)/bin/tdispatch
	install -D -m 644 dist/man/tdispatch.1 $(DESTDIR)$(PREFIX)/share/man/man1/tdispatch.1
	install -D -m 644 dist/man/tdispatch.ini.5 $(DESTDIR)$(PREFIX)/share/man/man5/tdispatch.ini.5
	install -D -m 644 dist/man/tdispatch-examples.7 $(DESTDIR)$(PREFIX)/share/man/man7/tdispatch-examples.7
	install -D -m 644 tdispatch.ini $(DESTDIR)$(PREFIX)/share/doc/tdispatch/tdispatch.ini
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/tdispatch/examples dist/examples/*.md
	install -D -m 644 dist/tdispatch@.service $(DESTDIR)$(PREFIX)/lib/systemd/system/tdispatch@.service
	sed -i 's#/usr/bin/tdispatch#$(PREFIX)/bin/tdispatch#' $(DESTDIR)$(PREFIX)/lib/systemd/system/tdispatch@.service
	dist/completions.sh $(DESTDIR)$(PREFIX)/share site-functions

dist: $(DIST:%=tarball-%) ## what a release uploads, under build/dist: a tarball for each of DIST, and SHA256SUMS
	@cd build/dist && sha256sum $(DIST:%=tdispatch-*-linux-%.tar.gz) >SHA256SUMS && cat SHA256SUMS

tarball-$(ARCH): $(BIN)
	@dist/tarball.sh $(ARCH) $(BIN) $(ROOT)/versions

# of another architecture; ./tdispatch prints the completions
tarball-%: tdispatch
	@$(MAKE) --no-print-directory ARCH=$* DEPS=build/$*/deps $@

dist-test: ## two builds in two folders, libraries and all, are the same to the bit (long)
	test/dist.sh

libpq-test: ## programs with libpq 15, 17 and 18, where they can be had, through the end-to-end tests (long)
	test/libpq.sh

arch-test: ## the programs for aarch64 and armv7 under qemu, against this machine's PostgreSQL (some minutes)
	test/arch.sh

deb: tdispatch ## a Debian package under build/dist: binary, man pages, sample config, unit for systemd
	dist/deb.sh $(ROOT)/versions

deb-test: deb ## look at the package, install it in an empty Debian, follow README there, remove it (root only)
	test/deb.sh

clean: ## remove what was built, but the libraries
	rm -rf build/obj build/native build/test tdispatch tdispatch-dev

distclean: clean ## remove all that was built
	rm -rf build

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 16
	@echo 'DIST=armv7      make dist for this architecture, not for all three'
	@echo 'V=1             show the commands'
	@echo 'DEPS_SRC=folder take the sources of musl, OpenSSL and PostgreSQL from there, not by apt'

.DELETE_ON_ERROR:

# what make help lists is no file
.PHONY: dev-tools asked-for $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' Makefile)
