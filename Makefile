# colossus: one non-recursive makefile.
#
#   make            the program, at ./colossus          make demo      the main job on real input
#   make test       every test                          make bench     speed beside PyTorch
#   make deps       what is missing, from Debian        make deps-dev  and what `make check` needs
#   make check      format, layers, cppcheck, -Werror   make format    clang-format on everything
#   make sanitize   tests under the sanitizers          make fuzz      FUZZ_RUNS=5000000
#   make test-cuda  kernels for GPUs in an emulator: CUDA_ARGS="--schedules 9"
#   make test-slurm jobs of a Slurm on this machine that lose nodes
#   make faults     FAULTS=50 FAULT_SEED=1: ranks are killed, frozen, slowed, falsified at random
#   make install    PREFIX=/usr/local DESTDIR=          make uninstall
#   make SANITIZE=address,undefined ...                 make CC=clang-14 ...      make WERROR=1 ...
#
# Objects live in build/<variant>/; each room of src/ becomes one archive lib<room>.a, and the test
# tests/unit/test_<room>_*.c links that room and the rooms above it in src/LAYERS.

CC       ?= gcc
ifeq ($(origin CC),default)
CC       := gcc
endif
SANITIZE ?=
WERROR   ?=
OPT      ?= -O2 -g
PREFIX   ?= /usr/local
DESTDIR  ?=
JOBS     ?= $(shell nproc)

comma    := ,
variant  := $(notdir $(CC))$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))$(if $(WERROR),-werror)
B        := build/$(variant)

WARN := -Wall -Wextra -Wshadow -Wvla -Wundef -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes \
        -Wpointer-arith -Wwrite-strings -Wcast-qual -Wimplicit-fallthrough $(if $(WERROR),-Werror)
# A row of a table leaves out what it does not have.
WARN += -Wno-missing-field-initializers
CFLAGS  += -std=gnu11 $(OPT) -fno-common -fno-math-errno -ffp-contract=off -pthread $(WARN)
CPPFLAGS += -Isrc -D_GNU_SOURCE
LDLIBS  := -lmicrohttpd -lcurl -lwebsockets -lsqlite3 -ljansson -lyaml -lzstd -lz -lxxhash -lutf8proc -ldnnl -lgomp -lhwloc -lm -ldl
LDFLAGS += -pthread
ifneq ($(SANITIZE),)
CFLAGS  += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
LDFLAGS += -fsanitize=$(SANITIZE)
endif

# One line a file; `make V=1` shows the commands.
V ?=
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2);)

ROOMS := $(shell sed '/^\#/d; /^$$/d; s|[ /].*||' src/LAYERS | uniq)
SRCS  := $(filter-out src/cluster/mpi/%,$(sort $(foreach r,$(ROOMS),$(wildcard src/$(r)/*.c src/$(r)/*/*.c))))
OBJS  := $(SRCS:src/%.c=$(B)/%.o)
room_objs = $(filter $(B)/$(1)/%,$(OBJS))
LIBS  := $(foreach r,$(ROOMS),$(if $(call room_objs,$(r)),$(B)/lib$(r).a))
group = -Wl,--start-group $(1) -Wl,--end-group

# Ranks over MPI: a shared object for each MPI whose compiler wrapper is here, loaded when the program
# was started by that MPI's launcher. Without one the program is whole, on one process.
MPIS := $(foreach m,openmpi mpich,$(if $(shell command -v mpicc.$(m)),$(m)))
MPI_OBJECTS := $(MPIS:%=$(B)/colossus-%.so)

all: colossus $(MPI_OBJECTS)

$(B)/colossus-%.so: src/cluster/mpi/cluster_mpi.c src/cluster/cluster_transport_internal.h
	@mkdir -p $(@D)
	$(call say,link,$@) mpicc.$* $(CPPFLAGS) -std=gnu11 -O2 -g -fPIC -shared -fvisibility=hidden $(WARN) -o $@ $<

# Asked before the first file is compiled: is there a compiler, and every library?
HEADERS := curl/curl.h dnnl.h hwloc.h jansson.h libwebsockets.h microhttpd.h sqlite3.h utf8proc.h xxhash.h yaml.h zlib.h zstd.h
$(B)/found:
	@mkdir -p $(@D)
	@{ printf '#include <%s>\n' $(HEADERS); \
	echo 'int main(void) { return 0; }'; } >$@.c; \
	$(CC) -o $@ $@.c $(LDLIBS) 2>$@.log || { head -n 3 $@.log; missing=$$(tools/deps --missing build); \
	echo "make: the compiler or a library is missing$${missing:+: './run deps' installs $$missing}"; \
	exit 1; } >&2

# A link to the last variant that was built.
colossus: $(B)/colossus FORCE
	@ln -sfn $< $@

$(B)/colossus: $(B)/main.o $(LIBS)
	$(call say,link,$@) $(CC) $(LDFLAGS) -o $@ $< $(call group,$(LIBS)) $(LDLIBS)

define room_rule
$(B)/lib$(1).a: $(call room_objs,$(1))
	@rm -f $$@; ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

# Kernels for one kind of CPU, chosen at run time; nothing else may use these flags.
$(B)/%_avx2.o:   CFLAGS += -mavx2 -mfma -mf16c
$(B)/%_avx512.o: CFLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c
$(B)/%_avx512bf16.o: CFLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16 -mfma
$(B)/%_avx512vnni.o: CFLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c
$(B)/%_amx.o:    CFLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16 -mfma -mamx-tile -mamx-bf16

$(B)/%.o: src/%.c | $(B)/found
	@mkdir -p $(@D)
	$(call say,cc,$<) $(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Pages are assembled in as they are.
$(B)/http/http_files.o $(B)/http/http_page.o $(B)/site/page/site_html_asset.o \
    $(B)/feed/show/feed_page.o $(B)/train/page/train_page.o: $(wildcard web/*)

# So are the kernels for GPUs.
$(B)/compute/gpu/compute_gpu_driver.o: $(wildcard src/compute/cuda/ptx/*)

# The commit goes into one object, which is compiled anew when it changes. An archive, or a folder
# within somebody else's repository, has none.
$(B)/commit: FORCE
	@mkdir -p $(@D); : >$@.now; test ! -e .git || GIT_OPTIONAL_LOCKS=0 git -c safe.directory='*' \
	    describe --always --exclude='*' --abbrev=12 --dirty=-changed >$@.now 2>/dev/null; \
	cmp -s $@.now $@ || cp $@.now $@
$(B)/cmd/cmd_version.o: $(B)/commit
$(B)/cmd/cmd_version.o: private CPPFLAGS += -DCOLOSSUS_COMMIT='"$(shell cat $(B)/commit)"'

# ---------------------------------------------------------------- tests
UNIT_SRCS := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BINS := $(UNIT_SRCS:tests/unit/%.c=$(B)/unit/%)
# test_<room>_x needs the room and those above it in LAYERS
test_room = $(word 2,$(subst _, ,$(1)))
upto      = $(firstword $(2)) $(if $(filter-out $(1),$(firstword $(2))),$(call upto,$(1),$(wordlist 2,99,$(2))))
upto_libs = $(filter $(foreach r,$(call upto,$(1),$(ROOMS)),$(B)/lib$(r).a),$(LIBS))
define unit_rule
$(B)/unit/$(1): $(B)/unit/$(1).o $(call upto_libs,$(call test_room,$(1)))
	$$(call say,link,$$@) $(CC) $(LDFLAGS) -o $$@ $$< $$(call group,$$(filter %.a,$$^)) -lcmocka $(LDLIBS)
endef
$(foreach t,$(notdir $(UNIT_BINS)),$(eval $(call unit_rule,$(t))))

$(B)/unit/%.o: tests/unit/%.c | $(B)/found
	@mkdir -p $(@D)
	$(call say,cc,$<) $(CC) $(CPPFLAGS) -Itests/unit $(CFLAGS) -MMD -MP -c -o $@ $<

# The emulator that proves the kernels for GPUs, and the checks that run in it: the PTX becomes shared
# objects that find the emulator in the program, hence -rdynamic (tests/cuda/cuda_run.py).
CUDA_SRCS  := $(wildcard tests/cuda/emu/*.c tests/cuda/check/*.c)
CUDA_CHECK := $(if $(filter x86_64,$(shell uname -m)),$(B)/cuda/cuda_check)
$(B)/cuda/%.o: tests/cuda/%.c | $(B)/found
	@mkdir -p $(@D)
	$(call say,cc,$<) $(CC) $(CPPFLAGS) -Itests/cuda/emu $(CFLAGS) -MMD -MP -c -o $@ $<
$(B)/cuda/cuda_check: $(CUDA_SRCS:tests/cuda/%.c=$(B)/cuda/%.o) $(B)/libcompute.a $(B)/libbase.a
	$(call say,link,$@) $(CC) $(LDFLAGS) -rdynamic -o $@ $(filter %.o,$^) $(call group,$(filter %.a,$^)) $(LDLIBS)
# The same emulator as a libcuda.so.1, which the program opens as it opens NVIDIA's.
CUDA_FAKE  := $(if $(CUDA_CHECK),$(B)/cuda/fake/libcuda.so.1 $(B)/cuda/cuda_model)
$(B)/cuda/fake/libcuda.so.1: $(wildcard tests/cuda/emu/*.[ch] tests/cuda/fake/*.c) | $(B)/found
	@mkdir -p $(@D)
	$(call say,link,$@) $(CC) $(CPPFLAGS) -Itests/cuda/emu $(filter-out -fsanitize=%,$(CFLAGS)) -fPIC -shared \
	    -Wl,-soname,libcuda.so.1 -o $@ $(filter %.c,$^) -lm -ldl
$(B)/cuda/model/%.o: CPPFLAGS += -Itests/unit
$(B)/cuda/cuda_model: $(B)/cuda/model/cuda_model.o $(call upto_libs,model)
	$(call say,link,$@) $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(call group,$(filter %.a,$^)) -lcmocka $(LDLIBS)
unit-bins: $(UNIT_BINS) $(CUDA_CHECK) $(CUDA_FAKE)

test-cuda: $(CUDA_CHECK) $(CUDA_FAKE)
	@tools/deps test
	@python3 tests/cuda/cuda_run.py --build $(B) $(CUDA_ARGS)

# Each tests/fuzz/fuzz_<name>.c is built twice: with libFuzzer by `make fuzz`, and with a small main
# that replays the corpus tests/fuzz/corpus/<name>/ by `make test`, which needs no clang.
FUZZ_NAMES  := $(patsubst tests/fuzz/fuzz_%.c,%,$(filter-out %/fuzz_replay.c,$(sort $(wildcard tests/fuzz/fuzz_*.c))))
REPLAY_BINS := $(FUZZ_NAMES:%=$(B)/fuzz/replay_%)
FUZZ_BINS   := $(FUZZ_NAMES:%=$(B)/fuzz/fuzz_%)
FUZZ_RUNS   ?= 200000

$(B)/fuzz/%.o: tests/fuzz/%.c | $(B)/found
	@mkdir -p $(@D)
	$(call say,cc,$<) $(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(REPLAY_BINS): $(B)/fuzz/replay_%: $(B)/fuzz/fuzz_%.o $(B)/fuzz/fuzz_replay.o $(LIBS)
	$(call say,link,$@) $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(call group,$(LIBS)) $(LDLIBS)

$(B)/fuzz/fuzz_%: $(B)/fuzz/fuzz_%.o $(LIBS)
	$(call say,link,$@) $(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $< $(call group,$(LIBS)) $(LDLIBS)

fuzz-replay: $(REPLAY_BINS)
fuzz-bins: $(FUZZ_BINS)

# Programs that measure: bench/bench_*.c, every room at hand.
BENCH_BINS := $(patsubst bench/%.c,$(B)/bench/%,$(sort $(wildcard bench/bench_*.c)))
$(B)/bench/%.o: bench/%.c | $(B)/found
	@mkdir -p $(@D)
	$(call say,cc,$<) $(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(BENCH_BINS): $(B)/bench/%: $(B)/bench/%.o $(LIBS)
	$(call say,link,$@) $(CC) $(LDFLAGS) -o $@ $< $(call group,$(LIBS)) $(LDLIBS)
bench-bins: $(BENCH_BINS)
-include bench/bench.mk

# ---------------------------------------------------------------- the commands of the head

# -jN of the command line is handed down; without one, use all processors.
SUBFLAGS = --no-print-directory $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(JOBS))

# `make -n` shows that ./run would be called, and does not call it.
deps deps-dev test demo:
	@$(if $(findstring n,$(firstword -$(MAKEFLAGS))),,+)./run $@
tested: all unit-bins fuzz-replay

bench:
	@tools/deps build
	@+$(MAKE) $(SUBFLAGS) all bench-bins
	@COLOSSUS_BENCH_TRAIN=$(CURDIR)/$(B)/bench/bench_train bench/run.sh $(BENCH_ARGS)

# Every source file that follows .clang-format.
STYLED = $(sort $(wildcard src/*.c src/*/*.[ch] src/*/*/*.[ch] src/*/*/*.cu src/*/*/*.cuh tests/*/*.[ch] tests/cuda/*/*.[ch] bench/*.[ch] bench/*/*.[ch]))

format:
	clang-format-14 -i $(STYLED)

# Goes on after a finding, so that one run shows them all.
CHECKS := check-format check-layers check-banned check-docs check-cppcheck check-gcc check-clang
check:
	@tools/deps dev
	@+rc=0; for c in $(CHECKS); do echo "== $$c"; $(MAKE) $(SUBFLAGS) $$c || rc=1; done; \
	[ $$rc -eq 0 ] && echo "check: all good"; exit $$rc

check-format:
	@clang-format-14 --dry-run -Werror $(STYLED)
check-layers check-banned check-docs:
	@tools/$@
check-cppcheck:
	@tools/check-cppcheck $(JOBS)
check-gcc:
	@+$(MAKE) $(SUBFLAGS) WERROR=1 CC=gcc build-all
check-clang:
	@+$(MAKE) $(SUBFLAGS) WERROR=1 CC=clang-14 build-all

build-all: $(B)/colossus unit-bins fuzz-replay bench-bins

# Address and undefined behaviour for everything; data races where threads meet.
RACES := $(filter $(B)/unit/test_base_pool% $(B)/unit/test_base_log% \
           $(B)/unit/test_http_server% $(B)/unit/test_serve_api% $(B)/unit/test_cluster_group% $(B)/unit/test_cluster_launch% $(B)/unit/test_text_loader% $(B)/unit/test_text_shard% $(B)/unit/test_train_checkpoint%, \
           $(UNIT_BINS))
races: $(RACES)

sanitize:
	@tools/deps test
	@+rc=0; $(MAKE) $(SUBFLAGS) SANITIZE=address,undefined OPT="-O1 -g" sanitized || rc=1; \
	$(MAKE) $(SUBFLAGS) SANITIZE=thread OPT="-O1 -g" raced || rc=1; exit $$rc

sanitized: $(B)/colossus unit-bins fuzz-replay
	@tools/run-tests --build $(B) --kinds unit,fuzz,golden
raced: races
	@tools/run-tests --build $(B) --kinds unit --only "$(notdir $(RACES))"

fuzz:
	@tools/deps dev
	@+$(MAKE) $(SUBFLAGS) CC=clang-14 SANITIZE=fuzzer-no-link,address,undefined OPT="-O1 -g" fuzz-bins
	@tools/run-fuzz --build build/clang-14-fuzzer-no-link-address-undefined --runs $(FUZZ_RUNS) \
	    --jobs $(JOBS)

# Random faults of runs of four ranks; every run must end with the bits of one left alone.
FAULTS     ?= 50
FAULT_SEED ?= 1
faults: all
	@tools/deps test
	@COLOSSUS=$(CURDIR)/$(B)/colossus tests/system/test_launch.sh --random $(FAULTS) $(FAULT_SEED)

# A Slurm of three nodes on this machine, and jobs that lose nodes of it.
test-slurm: all
	@tools/deps test
	@COLOSSUS=$(CURDIR)/$(B)/colossus python3 tests/slurm/slurm_faults.py

# README.md and docs/ stand to each other as here, so that their links hold.
SHARE := $(PREFIX)/share
DOC   := $(SHARE)/doc/colossus
to     = "$(DESTDIR)$(1)"
COMPLETIONS := bash:bash-completion/completions/colossus zsh:zsh/site-functions/_colossus \
    fish:fish/vendor_completions.d/colossus.fish

install: $(B)/colossus $(MPI_OBJECTS)
	install -d $(call to,$(PREFIX)/bin) $(call to,$(SHARE)/colossus/presets) $(call to,$(DOC)/docs)
	install -s -m 755 $(B)/colossus $(call to,$(PREFIX)/bin/colossus)
	for o in $(MPI_OBJECTS); do \
	    install -D -m 644 $$o $(call to,$(PREFIX)/lib/colossus)/$${o##*/} || exit 1; done
	cp -RL presets/. $(call to,$(SHARE)/colossus/presets/)
	cp -R docs/. $(call to,$(DOC)/docs/)
	cp README.md LICENSE NOTICE $(call to,$(DOC)/)
	chmod -R u=rwX,go=rX $(call to,$(SHARE)/colossus) $(call to,$(DOC))
	@for c in $(COMPLETIONS); do \
	    at=$(call to,$(SHARE))/$${c#*:}; install -d "$${at%/*}" && \
	    $(B)/colossus help --completion $${c%%:*} >"$$at" && chmod 644 "$$at" || exit 1; done

uninstall:
	rm -f $(call to,$(PREFIX)/bin/colossus)
	rm -rf $(call to,$(SHARE)/colossus) $(call to,$(DOC)) $(call to,$(PREFIX)/lib/colossus)
	@for c in $(COMPLETIONS); do rm -f $(call to,$(SHARE))/$${c#*:}; done

clean:
	rm -rf build colossus

-include $(OBJS:.o=.d) $(B)/main.d $(UNIT_BINS:=.d) $(FUZZ_NAMES:%=$(B)/fuzz/fuzz_%.d) \
    $(B)/fuzz/fuzz_replay.d $(BENCH_BINS:=.d) $(CUDA_SRCS:tests/cuda/%.c=$(B)/cuda/%.d)

.PHONY: FORCE $(CHECKS) all unit-bins fuzz-replay fuzz-bins bench-bins tested deps deps-dev test demo \
    bench format check build-all faults test-slurm test-cuda races sanitize sanitized raced fuzz install uninstall clean
.SECONDARY:
