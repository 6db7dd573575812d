# onelayer.  `make` builds bin/*, `make test` and `make demo` install what is missing first, `make help` lists the
# rest.  Flavours live side by side: make BUILD=build/x BINDIR=build/x/bin CFLAGS=...

# As many jobs as there are processors, unless -j says otherwise or another make runs this one.
JOBS := $(shell nproc 2>/dev/null || echo 2)
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(JOBS)
endif

VERSION = 0.1.0
BUILD = build
BINDIR = bin
prefix = /usr/local
bindir = $(prefix)/bin
mandir = $(prefix)/share/man
datadir = $(prefix)/share/onelayer
moduledir = $(prefix)/lib/onelayer

CFLAGS = -O2 $(if $(DEVELOPER),-g)
WARNINGS = -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes $(if $(DEVELOPER),-Werror)
# No a*b+c in one rounding and no fast-math: the same source gives the same bits from every compiler.
NUMBERS = -ffp-contract=off -fno-math-errno
CPPFLAGS =
LDFLAGS =
# V=1 shows whole commands.
say = @$(if $(V),set -x;,echo '  $(1)	$@';)

# -------- what is built

ARCH := $(shell uname -m)
# Folders of the library, those with the files that take longest first.
ROOMS := $(addprefix kernels/,cpu block schedule head statistics ref .) $(addprefix libcommon/,stream taps change run .) \
	$(addprefix formats/,checkpoint tokenizer sinks reports compare steering .)
ROOMS := $(ROOMS:%/.=%)
LIBRARY := $(wildcard $(ROOMS:%=%/*.c))
ifneq ($(ARCH),x86_64)
LIBRARY := $(filter-out kernels/cpu/x86%,$(LIBRARY))
endif
OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out libcommon/main.c,$(LIBRARY)))
TOOLS := $(patsubst tools/%.c,%,$(wildcard tools/*.c))
UNITS_C := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/*.c))
UNITS_CC := $(patsubst tests/unit/%.cc,$(BUILD)/unit/%,$(wildcard tests/unit/*.cc))
UNITS := $(UNITS_C) $(UNITS_CC) $(BUILD)/unit/toy
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(filter-out %/driver.c,$(wildcard tests/fuzz/*.c)))

# Asked once, when the first file is compiled.  msgpack-c's package has two names.
PACKAGES = $$(pkg-config --exists msgpack-c && echo msgpack-c || echo msgpack) \
	libzstd libxxhash libarchive jansson libpcre2-8 libutf8proc
PACKAGE_CFLAGS = $(eval PACKAGE_CFLAGS := $$(shell pkg-config --cflags $$(PACKAGES)))$(PACKAGE_CFLAGS)
PACKAGE_LIBS = $(eval PACKAGE_LIBS := $$(shell pkg-config --libs $$(PACKAGES)))$(PACKAGE_LIBS)

# For our own headers alone: a regex.h of ours hides no system's.
INCLUDES = $(addprefix -iquote ,$(ROOMS) $(BUILD))
COMPILE = $(CC) -std=gnu17 -D_GNU_SOURCE -DVERSION='"$(VERSION)"' $(INCLUDES) $(PACKAGE_CFLAGS) $(CPPFLAGS) \
	$(WARNINGS) $(NUMBERS) -pthread $(CFLAGS)
LINK = $(CC) -pthread $(CFLAGS) $(LDFLAGS) -Wl,--as-needed
LIBS = $(PACKAGE_LIBS) -ldnnl -ldl -lm

# One file for each vector unit; which of them runs is decided when the program starts.
AVX512 = -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma
FLAGS_x86_avx2 = -mavx2 -mfma -mf16c -falign-loops=64
FLAGS_x86_avx512 = $(AVX512) -falign-loops=64
FLAGS_x86_avx512_bf16 = $(AVX512) -mavx512bf16 -falign-loops=64
# For tests alone, so -O1 will do.  Vectors that the processor lacks, which no function hands to another that is not inlined.
FLAGS_avx512_bf16_plain = -Wno-psabi -O1
FLAGS_x86_amx = -mavx2 -mamx-tile -mamx-bf16
# Loops over many values, which gcc vectorises at -O3, and some only where nobody reads the processor's exception
# flags.  It changes no value.
FLAGS_cpu_weights = -O3
FLAGS_dtype = -O3 -fno-trapping-math $(IN_MODULE)
FLAGS_pooling = -O3 -fno-trapping-math
FLAGS_scatter = -O3 -fno-trapping-math
FLAGS_compare_sums = -O3 -fno-trapping-math
FLAGS_components = -O3
FLAGS_steering = -O3
# What the CUDA module takes from the library too.
IN_MODULE = -fPIC -fvisibility=hidden
FLAGS_error = $(IN_MODULE)
FLAGS_view = $(IN_MODULE)

# The longest first: small files fill what is left of the time.
all: cuda $(TOOLS:%=$(BINDIR)/%)

$(BINDIR)/%: $(BUILD)/tools/%.o $(BUILD)/libcommon/main.o $(BUILD)/onelayer.a
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $^ $(LIBS)

$(BUILD)/onelayer.a: $(OBJECTS)
	@rm -f $@
	$(call say,AR)$(AR) rcs $@ $^

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(COMPILE) $(FLAGS_$(basename $(notdir $<))) -MMD -MP -c -o $@ $<

$(BUILD)/libcommon/site.o: $(BUILD)/aliases.inc
$(BUILD)/kernels/cuda_module.o: $(BUILD)/cuda_abi.inc

# alias TAB ours TAB whose -> { "alias", "ours" },
$(BUILD)/aliases.inc: libcommon/aliases.tsv
	@mkdir -p $(@D)
	awk -F '\t' '!/^#/ && NF { printf "{ \"%s\", \"%s\" },\n", $$1, $$2 }' $< >$@

# Changes, and so rebuilds everything, only when the commands do.
remember = @mkdir -p $(@D); echo '$(subst ','\'',$(1))' >$@.new; cmp -s $@.new $@ && rm $@.new || mv $@.new $@
$(BUILD)/flags: FORCE
	$(call remember,$(COMPILE) : $(LINK) : $(LIBS) : $(OBJECTS) : $(foreach v,$(sort $(filter FLAGS_%,$(.VARIABLES))),$v $($v)))

# -------- the CUDA back end: a module that the programs load when --device asks for it (kernels/cuda_module.h).
# kernels/cuda/*.cu are compiled for the card by nvcc and for the host, where tests run them, by the C++ compiler;
# kernels/cuda/*.cc once, for both.  CUDA=no leaves the card's out; NVCC=... names a compiler.

CUDA_BOTH := $(wildcard kernels/cuda/*.cu)
CUDA_ONCE := $(wildcard kernels/cuda/*.cc)
CUDA_CARD := $(wildcard kernels/cuda/card/*.cc)
CUDA_HOST := $(wildcard kernels/cuda/host/*.cc)
CUDA_INCLUDES = -iquote kernels/cuda -iquote kernels/cuda/host $(INCLUDES)
HOST = $(BUILD)/cuda-host
# What either module has besides its kernels, of the library (IN_MODULE) too; it exports one symbol and takes none from the
# program that loads it.
CUDA_C = $(addprefix $(BUILD)/,libcommon/error.o libcommon/dtype.o kernels/view.o)
CUDA_REST := $(CUDA_ONCE:%.cc=$(HOST)/%.o) $(CUDA_C)

# The layout that program and module must agree on.
CUDA_ABI = kernels/ops.h kernels/cuda_module.h libcommon/model.h libcommon/dtype.h libcommon/error.h
$(BUILD)/cuda_abi.inc: $(CUDA_ABI)
	@mkdir -p $(@D)
	@cat $(CUDA_ABI) | cksum | awk '{ print "#define CUDA_ABI " $$1 "u" }' >$@

CXX = $(if $(findstring clang,$(CC)),clang++,g++)
CXX_WARNINGS = -Wall -Wextra -Wshadow -Wvla $(if $(DEVELOPER),-Werror)
CXX_COMPILE = $(CXX) -std=gnu++17 -D_GNU_SOURCE -DVERSION='"$(VERSION)"' $(CUDA_INCLUDES) $(CPPFLAGS) $(CXX_WARNINGS) \
	$(NUMBERS) -pthread -fPIC -fvisibility=hidden $(CFLAGS)
CXX_LINK = $(CXX) -pthread $(CFLAGS) $(LDFLAGS)
# A sanitizer's own symbols are the program's.
ALL_DEFINED = $(if $(findstring -fsanitize,$(CFLAGS)),,-Wl,-z,defs)
HOST_OBJECTS := $(CUDA_BOTH:%.cu=$(HOST)/%.o) $(CUDA_HOST:%.cc=$(HOST)/%.o)

$(HOST)/onelayer-cuda.so: $(HOST_OBJECTS) $(CUDA_REST)
	$(call say,LINK)$(CXX_LINK) $(ALL_DEFINED) -shared -o $@ $^
$(HOST)/%.o: %.cu $(HOST)/flags
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX_COMPILE) -MMD -MP -c -o $@ -x c++ $<
$(HOST)/%.o: %.cc $(HOST)/flags
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX_COMPILE) -MMD -MP -c -o $@ $<
$(HOST)/kernels/cuda/module.o: $(BUILD)/cuda_abi.inc
$(HOST)/flags: FORCE
	$(call remember,$(CXX_COMPILE) : $(CXX_LINK) : $(HOST_OBJECTS))

NVCC = $(eval NVCC := $$(shell command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null))$(NVCC)
# sm_80 and later, as this compiler knows them; and those of the cards that are here.
CUDA_KNOWN = $(eval CUDA_KNOWN := $$(filter-out sm_5% sm_6% sm_7%,$$(shell $$(NVCC) --list-gpu-code)))$(CUDA_KNOWN)
CUDA_HERE = $(eval CUDA_HERE := $$(sort $$(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | \
	sed -n 's/^\([0-9]*\)\.\([0-9]*\)$$$$/sm_\1\2/p')))$(CUDA_HERE)
CUDA_ARCHES = $(or $(filter $(CUDA_HERE),$(CUDA_KNOWN)),sm_80)
# Code for each, and PTX of the first, which later cards translate.
CUDA_CODE = $(foreach a,$(CUDA_ARCHES),-gencode arch=$(a:sm_%=compute_%),code=$(a)) \
	-gencode arch=$(patsubst sm_%,compute_%,$(firstword $(CUDA_ARCHES))),code=$(patsubst sm_%,compute_%,$(firstword $(CUDA_ARCHES)))
comma = ,
space = $(subst ,, )
# The standard headers that nvcc reads, three times a file, are twice as long in C++17.
# -O1 is for what launches kernels, which are compiled at the best level anyway.  Products and sums are rounded as they are
# written.
CUDA_NUMBERS = -fmad=false
# Nor may a kernel keep in memory what it has no registers for.
CUDA_WARNINGS = -Werror all-warnings -Xptxas --warn-on-spills,--warn-on-local-memory-usage
CUDA_COMPILE = $(NVCC) -std=c++14 -O1 $(CUDA_NUMBERS) $(CUDA_CODE) $(if $(DEVELOPER),$(CUDA_WARNINGS)) -DVERSION='"$(VERSION)"' \
	-Xcompiler $(subst $(space),$(comma),$(strip -fPIC -fvisibility=hidden -D_GNU_SOURCE -Wall -Wextra $(CUDA_INCLUDES)))
# The matrix library is opened when a device is: sought where the loader looks, and where this compiler's toolkit has it.
CUDA_ROOT = $(dir $(realpath $(shell command -v $(firstword $(NVCC)))))..
CUDA_RUNPATH = $(eval CUDA_RUNPATH := $$(patsubst %,-Xlinker -rpath=%,$$(firstword $$(abspath $$(dir $$(wildcard $$(addsuffix \
	/libcublasLt.so*,$$(addprefix $$(CUDA_ROOT)/,lib64 lib targets/$$(ARCH)-linux/lib))))))))$(CUDA_RUNPATH)
CUDA_LINK = $(NVCC) -shared -cudart static -Xlinker --exclude-libs,ALL -Xlinker -z,defs $(CUDA_RUNPATH)
CARD = $(BUILD)/cuda
# nvcc takes longer to start than for most of these files: but for two that it is long at, they are one source to it.
CUDA_LONG := kernels/cuda/attend_bf16.cu kernels/cuda/attend_f16.cu
CARD_OBJECTS := $(CARD)/kernels.o $(CUDA_LONG:%.cu=$(CARD)/%.o) $(CUDA_CARD:%.cc=$(CARD)/%.o)
$(CARD)/kernels.o: $(CARD)/flags
	@printf '#include "%s"\n' $(notdir $(filter-out $(CUDA_LONG),$(CUDA_BOTH))) >$(@:.o=.cu)
	$(call say,NVCC)$(CUDA_COMPILE) -MMD -MP -c -o $@ $(@:.o=.cu) || $(CUDA_ELSE)
CUDA_MODULE = $(BINDIR)/onelayer-cuda.so

# What goes wrong here leaves the programs as they are: --device cpu needs none of it.
CUDA_ELSE = $(if $(CUDA_MUST),false,true)
cuda: $(if $(filter no,$(CUDA)),,$(if $(NVCC),$(CUDA_MODULE),no-nvcc))
no-nvcc:
	@echo 'onelayer-cuda.so: not built: there is no nvcc'
$(CUDA_MODULE): $(CARD_OBJECTS) $(CUDA_REST)
	@mkdir -p $(@D)
	@if ls $^ >$(CARD)/parts 2>&1 && $(CUDA_LINK) -o $@ $^; then echo '  LINK	$@'; \
	else rm -f $@; echo 'onelayer-cuda.so: not built: $(NVCC) failed (above); --device cuda will say so'; $(CUDA_ELSE); fi
$(CARD)/%.o: %.cu $(CARD)/flags
	@mkdir -p $(@D)
	$(call say,NVCC)$(CUDA_COMPILE) -MMD -MP -c -o $@ $< || $(CUDA_ELSE)
# Host code, which nvcc gives to the C++ compiler with the toolkit's headers.
$(CARD)/%.o: %.cc $(CARD)/flags
	@mkdir -p $(@D)
	$(call say,NVCC)$(CUDA_COMPILE) -MMD -MP -c -o $@ $< || $(CUDA_ELSE)
$(CARD)/flags: FORCE
	$(call remember,$(CUDA_COMPILE) : $(CUDA_LINK) : $(CARD_OBJECTS) : $(CUDA_BOTH))

# One module for every card; install it with make install CUDA_MODULE=$(BUILD)/cuda-all/onelayer-cuda.so
cuda-all:
	@test -n '$(NVCC)' || { echo 'make cuda-all needs nvcc' >&2; exit 1; }
	@+$(MAKE) DEVELOPER=1 CARD=$(BUILD)/cuda-all CUDA_MODULE=$(BUILD)/cuda-all/onelayer-cuda.so CUDA_MUST=1 CUDA_ARCHES='$(CUDA_KNOWN)' \
		$(BUILD)/cuda-all/onelayer-cuda.so

# -------- tests.  A program of tests/unit is run by itself, or by the tests/*.t of its name.

unit: $(UNITS) $(HOST)/onelayer-cuda.so
$(UNITS_C): $(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/tests/stub.o $(BUILD)/onelayer.a
	@mkdir -p $(@D)
	$(call say,LINK)$(LINK) -o $@ $^ $(LIBS)

# Kernels' words and the fake device, by themselves.
$(UNITS_CC): $(BUILD)/unit/%: $(HOST)/tests/unit/%.o $(CUDA_HOST:%.cc=$(HOST)/%.o) $(HOST)/kernels/cuda/gpu_choose.o $(CUDA_C)
	@mkdir -p $(@D)
	$(call say,LINK)$(CXX_LINK) -o $@ $^ $(UNIT_LIBS)
# Attention's kernels by themselves, against ref.
$(BUILD)/unit/cuda_attend: UNIT_LIBS = $(LIBS)
$(BUILD)/unit/cuda_attend: $(filter $(HOST)/kernels/cuda/attend%,$(HOST_OBJECTS) $(CUDA_REST)) $(BUILD)/onelayer.a
# The whole module's, as one that is told to be idle.
$(BUILD)/unit/cuda_limits: $(HOST_OBJECTS) $(CUDA_REST)

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

PROVE = prove -j$(JOBS) -e ''
TESTS = $(wildcard tests/*.t)
UNIT_TESTS = $(filter-out $(BUILD)/unit/toy $(TESTS:tests/%.t=$(BUILD)/unit/%),$(UNITS))

test: deps
	@+$(MAKE) run-tests
run-tests: all unit fuzzers
	BIN="$(abspath $(BINDIR))" BUILD="$(abspath $(BUILD))" $(PROVE) $(TESTS) $(UNIT_TESTS)

# A leak at exit is no fault of a program that ends; exit codes of a sanitizer are none that a test expects.
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
test-asan: deps
	+ASAN_OPTIONS=exitcode=99:detect_leaks=0:allocator_may_return_null=1 \
	UBSAN_OPTIONS=exitcode=99:print_stacktrace=1 SANITIZED=1 \
	$(MAKE) CUDA=no BUILD=build/asan BINDIR=build/asan/bin CFLAGS='-O1 -g $(SANITIZE)' run-tests

# Headers, layers, linters, manual pages, then everything once more under the sanitizers.
check: deps
	@+$(MAKE) run-check
	@+$(MAKE) test-asan
run-check: all $(HOST)/onelayer-cuda.so
	BIN="$(abspath $(BINDIR))" BUILD="$(abspath $(BUILD))" $(PROVE) $(wildcard tests/check/*.t)

# clang's libFuzzer: make fuzz, then build/libfuzzer/fuzz/NAME tests/fuzz/corpus/NAME
fuzz:
	+$(MAKE) CC=clang BUILD=build/libfuzzer FUZZ_MAIN= CFLAGS='-O1 -g $(SANITIZE) -fsanitize=fuzzer-no-link' \
		LDFLAGS=-fsanitize=fuzzer fuzzers

demo: deps
	@+$(MAKE) all
	@BIN="$(abspath $(BINDIR))" pipelines/demo.sh

BENCHES = $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))
$(BUILD)/bench/%: $(BUILD)/tests/bench/%.o $(BUILD)/onelayer.a
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(LIBS)

bench: deps
	@+$(MAKE) run-bench
run-bench: all $(BENCHES)
	@for b in tests/bench/*.sh; do BIN="$(abspath $(BINDIR))" BUILD="$(abspath $(BUILD))" \
		RUNS_TABLE="$(abspath $(BUILD))/bench/layer-run.tsv" sh "$$b" || exit; done

# What can be seen on a card alone; DRY=1 tries the scripts on the host.
$(CARD)/rates $(CARD)/products: $(CARD)/%: $(CARD)/tests/gpu/%.o $(CARD_OBJECTS) $(CUDA_REST)
	$(call say,LINK)$(NVCC) -cudart static $(CUDA_RUNPATH) -o $@ $^
$(HOST)/rates $(HOST)/products: $(HOST)/%: $(HOST)/tests/gpu/%.o $(HOST_OBJECTS) $(CUDA_REST)
	$(call say,LINK)$(CXX_LINK) -o $@ $^
test-gpu: deps
	@+$(MAKE) all $(if $(DRY),unit $(HOST)/products,$(CARD)/products)
	@BIN="$(abspath $(BINDIR))" BUILD="$(abspath $(BUILD))" tests/gpu/test.sh
bench-gpu: deps
	@+$(MAKE) all $(BENCHES) $(if $(DRY),unit $(HOST)/rates,$(CARD)/rates)
	@BIN="$(abspath $(BINDIR))" BUILD="$(abspath $(BUILD))" tests/gpu/bench.sh
# Both, packed for a machine that has a card and can't build; CUDA_ARCHES=sm_90 saves the other cards' code.  Programs find the
# libraries beside them.
KIT = $(BUILD)/kit
gpu-kit: deps
	@+$(MAKE) BUILD=$(KIT) BINDIR=$(KIT)/gpu-kit/bin CUDA_MUST=1 CUDA_ARCHES='$(if $(findstring command,$(origin CUDA_ARCHES)),$(CUDA_ARCHES),$(CUDA_KNOWN))' \
		LDFLAGS='$(LDFLAGS) -Wl,--disable-new-dtags -Wl,-rpath,\$$$$ORIGIN/../lib -Wl,-rpath,\$$$$ORIGIN/../../lib' \
		all $(KIT)/cuda/products $(KIT)/cuda/rates $(KIT)/bench/make-model
	@mkdir -p $(KIT)/gpu-kit/build/cuda $(KIT)/gpu-kit/build/bench
	@cp $(KIT)/cuda/products $(KIT)/cuda/rates $(KIT)/gpu-kit/build/cuda
	@cp $(KIT)/bench/make-model $(KIT)/gpu-kit/build/bench
	@tests/gpu/kit.sh "$(abspath $(KIT)/gpu-kit)" "$(abspath $(BUILD))/gpu-kit.tar.xz"

deps:
	@tests/deps.sh

# -------- the rest

install: all
	install -d $(addprefix $(DESTDIR),$(bindir) $(moduledir) $(mandir)/man1 $(mandir)/man5 $(mandir)/man7 $(datadir)/pipelines)
	install $(TOOLS:%=$(BINDIR)/%) $(DESTDIR)$(bindir)
	test ! -e $(CUDA_MODULE) || install $(CUDA_MODULE) $(DESTDIR)$(moduledir)/onelayer-cuda.so
	for s in 1 5 7; do for m in man/*.$$s; do \
		test ! -e $$m || install -m 644 $$m $(DESTDIR)$(mandir)/man$$s || exit; done; done
	install -m 644 libcommon/aliases.tsv $(DESTDIR)$(datadir)
	for p in pipelines/*; do install -m "$$(test -x $$p && echo 755 || echo 644)" $$p \
		$(DESTDIR)$(datadir)/pipelines || exit; done

uninstall:
	rm -f $(TOOLS:%=$(DESTDIR)$(bindir)/%)
	for m in man/*.[157]; do rm -f $(DESTDIR)$(mandir)/man$${m##*.}/$${m##*/}; done
	rm -rf $(DESTDIR)$(datadir) $(DESTDIR)$(moduledir)

clean:
	rm -rf build $(TOOLS:%=bin/%) bin/onelayer-cuda.so

help:
	@echo 'make            the programs, into bin/'
	@echo 'make cuda-all   the CUDA back end for every card from sm_80 on (nvcc)'
	@echo 'make demo       a small model from text to steered text, checked; installs what is missing'
	@echo 'make test       all tests; installs what is missing'
	@echo 'make check      linters, layering, manual pages, and the tests under ASan and UBSan'
	@echo 'make test-asan  the tests under ASan and UBSan alone'
	@echo 'make bench      how fast'
	@echo 'make test-gpu   the tests that need a GPU; make bench-gpu: how fast it is'
	@echo 'make gpu-kit    both packed, for a machine that has a GPU and can not build'
	@echo 'make fuzz       fuzzers with libFuzzer (clang)'
	@echo 'make deps       Debian and Ubuntu packages that are missing'
	@echo 'make install    to $(prefix), or prefix=...; DESTDIR=... stages it;  make uninstall'
	@echo 'make clean'

.PHONY: FORCE all cuda no-nvcc cuda-all unit fuzzers test run-tests test-asan check run-check fuzz demo bench run-bench test-gpu bench-gpu gpu-kit deps install uninstall clean help
# A source that was renamed or taken away since: what an object was made of then need not be there.
%.c %.cc %.cu: ;
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:
-include $(OBJECTS:.o=.d) $(patsubst %,$(BUILD)/%.d,$(TOOLS:%=tools/%) libcommon/main tests/stub tests/toy tests/fuzz/driver)
-include $(HOST_OBJECTS:.o=.d) $(CARD_OBJECTS:.o=.d) $(CUDA_REST:.o=.d) $(UNITS_CC:$(BUILD)/unit/%=$(HOST)/tests/unit/%.d)
-include $(wildcard $(HOST)/tests/gpu/*.d $(CARD)/tests/gpu/*.d $(BUILD)/tests/bench/*.d)
-include $(UNITS_C:$(BUILD)/unit/%=$(BUILD)/tests/unit/%.d) $(FUZZERS:$(BUILD)/fuzz/%=$(BUILD)/tests/fuzz/%.d)
