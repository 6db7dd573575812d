# onelayer.  `make` builds bin/*, `make test` and `make demo` install what is missing first, `make help` lists the
# rest.  Flavours live side by side: make BUILD=build/x BINDIR=build/x/bin CFLAGS=...

VERSION = 0.1.0
BUILD = build
BINDIR = bin
prefix = /usr/local
bindir = $(prefix)/bin
mandir = $(prefix)/share/man
datadir = $(prefix)/share/onelayer

CFLAGS = -O2 -g
WARNINGS = -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes $(if $(DEVELOPER),-Werror)
# No a*b+c in one rounding and no fast-math: the same source gives the same bits from every compiler.
NUMBERS = -ffp-contract=off -fno-math-errno
CPPFLAGS =
LDFLAGS =
# V=1 shows whole commands.
say = @$(if $(V),set -x;,echo '  $(1)	$@';)

# -------- what is built

ARCH := $(shell uname -m)
LIBRARY := $(wildcard libcommon/*.c formats/*.c kernels/*.c kernels/ref/*.c kernels/cpu/*.c)
ifneq ($(ARCH),x86_64)
LIBRARY := $(filter-out kernels/cpu/x86%,$(LIBRARY))
endif
OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out libcommon/main.c,$(LIBRARY)))
TOOLS := $(patsubst tools/%.c,%,$(wildcard tools/*.c))
UNITS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/*.c)) $(BUILD)/unit/toy
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(filter-out %/driver.c,$(wildcard tests/fuzz/*.c)))

# Asked once, when the first file is compiled.  msgpack-c's package has two names.
PACKAGES = $$(pkg-config --exists msgpack-c && echo msgpack-c || echo msgpack) \
	libzstd libxxhash libarchive jansson libpcre2-8 libutf8proc
PACKAGE_CFLAGS = $(eval PACKAGE_CFLAGS := $$(shell pkg-config --cflags $$(PACKAGES)))$(PACKAGE_CFLAGS)
PACKAGE_LIBS = $(eval PACKAGE_LIBS := $$(shell pkg-config --libs $$(PACKAGES)))$(PACKAGE_LIBS)

# For our own headers alone: a regex.h of ours hides no system's.
INCLUDES = $(addprefix -iquote ,libcommon formats kernels kernels/ref kernels/cpu $(BUILD))
COMPILE = $(CC) -std=gnu17 -D_GNU_SOURCE -DVERSION='"$(VERSION)"' $(INCLUDES) $(PACKAGE_CFLAGS) $(CPPFLAGS) \
	$(WARNINGS) $(NUMBERS) -pthread $(CFLAGS)
LINK = $(CC) -pthread $(CFLAGS) $(LDFLAGS) -Wl,--as-needed
LIBS = $(PACKAGE_LIBS) -ldnnl -ldl -lm

# One file for each vector unit; which of them runs is decided when the program starts.
AVX512 = -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma
FLAGS_x86_avx2 = -mavx2 -mfma -mf16c
FLAGS_x86_avx512 = $(AVX512)
FLAGS_x86_amx = -mavx2 -mamx-tile -mamx-bf16
# Loops over many values, which gcc vectorises at -O3, and some only where nobody reads the processor's exception
# flags.  It changes no value.
FLAGS_cpu_weights = -O3
FLAGS_dtype = -O3 -fno-trapping-math
FLAGS_scatter = -O3 -fno-trapping-math
FLAGS_components = -O3
FLAGS_steering = -O3

all: $(TOOLS:%=$(BINDIR)/%)

$(BINDIR)/%: $(BUILD)/tools/%.o $(BUILD)/libcommon/main.o $(BUILD)/onelayer.a
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $^ $(LIBS)

$(BUILD)/onelayer.a: $(OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(COMPILE) $(FLAGS_$(basename $(notdir $<))) -MMD -MP -c -o $@ $<

$(BUILD)/libcommon/site.o: $(BUILD)/aliases.inc

# alias TAB ours TAB whose -> { "alias", "ours" },
$(BUILD)/aliases.inc: libcommon/aliases.tsv
	@mkdir -p $(@D)
	awk -F '\t' '!/^#/ && NF { printf "{ \"%s\", \"%s\" },\n", $$1, $$2 }' $< >$@

# Changes, and so rebuilds everything, only when the commands do.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(COMPILE) : $(LINK) : $(LIBS) : $(OBJECTS))' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# -------- tests.  A program of tests/unit is run by itself, or by the tests/*.t of its name.

unit: $(UNITS)
$(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/tests/stub.o $(BUILD)/onelayer.a
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $^ $(LIBS)

# A program of main.c's and nothing else.
$(BUILD)/unit/toy: $(BUILD)/tests/toy.o $(BUILD)/libcommon/main.o $(BUILD)/onelayer.a
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $^ $(LIBS)

fuzzers: $(FUZZERS)
# Without an engine, driver.c has main(): it replays the corpus and mutations of it.
FUZZ_MAIN = $(BUILD)/tests/fuzz/driver.o
$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o $(FUZZ_MAIN) $(BUILD)/tests/stub.o $(BUILD)/onelayer.a
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $^ $(LIBS)

JOBS = $(shell nproc 2>/dev/null || echo 2)
# The jobs of a -j given to this make, else as many as there are processors.
SUBMAKE = $(MAKE) $(if $(findstring -j,$(MAKEFLAGS)),,-j$(JOBS))
PROVE = prove -j$(JOBS) -e ''
TESTS = $(wildcard tests/*.t)
UNIT_TESTS = $(filter-out $(BUILD)/unit/toy $(TESTS:tests/%.t=$(BUILD)/unit/%),$(UNITS))

test: deps
	@+$(SUBMAKE) run-tests
run-tests: all unit fuzzers
	BIN="$(abspath $(BINDIR))" BUILD="$(abspath $(BUILD))" $(PROVE) $(TESTS) $(UNIT_TESTS)

# A leak at exit is no fault of a program that ends; exit codes of a sanitizer are none that a test expects.
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
test-asan: deps
	+ASAN_OPTIONS=exitcode=99:detect_leaks=0:allocator_may_return_null=1 \
	UBSAN_OPTIONS=exitcode=99:print_stacktrace=1 SANITIZED=1 \
	$(SUBMAKE) BUILD=build/asan BINDIR=build/asan/bin CFLAGS='-O1 -g $(SANITIZE)' run-tests

# Headers, layers, linters, manual pages, then everything once more under the sanitizers.
check: deps
	@+$(SUBMAKE) run-check
	@+$(MAKE) test-asan
run-check: all
	BIN="$(abspath $(BINDIR))" BUILD="$(abspath $(BUILD))" $(PROVE) $(wildcard tests/check/*.t)

# clang's libFuzzer: make fuzz, then build/libfuzzer/fuzz/NAME tests/fuzz/corpus/NAME
fuzz:
	+$(SUBMAKE) CC=clang BUILD=build/libfuzzer FUZZ_MAIN= CFLAGS='-O1 -g $(SANITIZE) -fsanitize=fuzzer-no-link' \
		LDFLAGS=-fsanitize=fuzzer fuzzers

demo: deps
	@+$(SUBMAKE) all
	@BIN="$(abspath $(BINDIR))" pipelines/demo.sh

BENCHES = $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))
$(BUILD)/bench/%: $(BUILD)/tests/bench/%.o $(BUILD)/onelayer.a
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(LIBS)

bench: deps
	@+$(SUBMAKE) run-bench
run-bench: all $(BENCHES)
	@for b in tests/bench/*.sh; do BIN="$(abspath $(BINDIR))" BUILD="$(abspath $(BUILD))" sh "$$b" || exit; done

deps:
	@tests/deps.sh

# -------- the rest

install: all
	install -d $(addprefix $(DESTDIR),$(bindir) $(mandir)/man1 $(mandir)/man5 $(mandir)/man7 $(datadir)/pipelines)
	install $(TOOLS:%=$(BINDIR)/%) $(DESTDIR)$(bindir)
	for s in 1 5 7; do for m in man/*.$$s; do \
		test ! -e $$m || install -m 644 $$m $(DESTDIR)$(mandir)/man$$s || exit; done; done
	install -m 644 libcommon/aliases.tsv $(DESTDIR)$(datadir)
	for p in pipelines/*; do install -m "$$(test -x $$p && echo 755 || echo 644)" $$p \
		$(DESTDIR)$(datadir)/pipelines || exit; done

uninstall:
	rm -f $(TOOLS:%=$(DESTDIR)$(bindir)/%)
	for m in man/*.[157]; do rm -f $(DESTDIR)$(mandir)/man$${m##*.}/$${m##*/}; done
	rm -rf $(DESTDIR)$(datadir)

clean:
	rm -rf build $(TOOLS:%=bin/%)

help:
	@echo 'make            the programs, into bin/'
	@echo 'make demo       a small model from text to steered text, checked; installs what is missing'
	@echo 'make test       all tests; installs what is missing'
	@echo 'make check      linters, layering, manual pages, and the tests under ASan and UBSan'
	@echo 'make test-asan  the tests under ASan and UBSan alone'
	@echo 'make bench      how fast'
	@echo 'make fuzz       fuzzers with libFuzzer (clang)'
	@echo 'make deps       Debian and Ubuntu packages that are missing'
	@echo 'make install    to $(prefix), or prefix=...; DESTDIR=... stages it;  make uninstall'
	@echo 'make clean'

FORCE:
.PHONY: all unit fuzzers test run-tests test-asan check run-check fuzz demo bench run-bench deps install uninstall clean help
.SECONDARY:
.DELETE_ON_ERROR:
-include $(OBJECTS:.o=.d) $(patsubst %,$(BUILD)/%.d,$(TOOLS:%=tools/%) libcommon/main tests/stub tests/toy tests/fuzz/driver)
-include $(UNITS:$(BUILD)/unit/%=$(BUILD)/tests/unit/%.d) $(FUZZERS:$(BUILD)/fuzz/%=$(BUILD)/tests/fuzz/%.d)
