# colossus: one non-recursive makefile.
#
#   make            the program, at ./colossus          make demo    the main job on real input
#   make test       every test                          make bench   speed beside PyTorch
#   make deps       what is missing, from Debian        make check   format, layers, cppcheck
#   make SANITIZE=address,undefined ...                 make CC=clang-14 ...
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

comma    := ,
variant  := $(notdir $(CC))$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
B        := build/$(variant)

WARN := -Wall -Wextra -Wshadow -Wvla -Wundef -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes \
        -Wpointer-arith -Wwrite-strings -Wcast-qual -Wimplicit-fallthrough $(if $(WERROR),-Werror)
CFLAGS  += -std=gnu11 $(OPT) -fno-common -fno-math-errno -ffp-contract=off -pthread $(WARN)
CPPFLAGS += -Isrc -D_GNU_SOURCE
LDLIBS  := -ljansson -lyaml -lzstd -lz -lxxhash -lpcre2-8 -lutf8proc -ldnnl -lgomp -lm -ldl
LDFLAGS += -pthread
ifneq ($(SANITIZE),)
CFLAGS  += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
LDFLAGS += -fsanitize=$(SANITIZE)
endif

ROOMS := $(shell sed '/^\#/d;/^$$/d' src/LAYERS)
SRCS  := $(sort $(foreach r,$(ROOMS),$(wildcard src/$(r)/*.c src/$(r)/*/*.c)))
OBJS  := $(SRCS:src/%.c=$(B)/%.o)
room_objs = $(filter $(B)/$(1)/%,$(OBJS))
LIBS  := $(foreach r,$(ROOMS),$(if $(call room_objs,$(r)),$(B)/lib$(r).a))

all: colossus

colossus: $(B)/colossus
	@ln -sf $< $@

$(B)/colossus: $(B)/main.o $(LIBS)
	$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LIBS) -Wl,--end-group $(LDLIBS)

define room_rule
$(B)/lib$(1).a: $(call room_objs,$(1))
	@rm -f $$@; ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

# Kernels for one kind of CPU, chosen at run time; nothing else may use these flags.
$(B)/%_avx2.o:   CFLAGS += -mavx2 -mfma -mf16c
$(B)/%_avx512.o: CFLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c
$(B)/%_avx512bf16.o: CFLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16 -mfma

$(B)/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# ---------------------------------------------------------------- tests
UNIT_SRCS := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BINS := $(UNIT_SRCS:tests/unit/%.c=$(B)/unit/%)
# test_<room>_x needs the room and those above it in LAYERS
test_room  = $(word 2,$(subst _, ,$(1)))
upto       = $(foreach r,$(ROOMS),$(if $(done_$(1)),,$(r) $(if $(filter $(1),$(r)),$(eval done_$(1):=1))))
define unit_rule
$(B)/unit/$(1): $(B)/unit/$(1).o $(filter $(foreach r,$(call upto,$(call test_room,$(1))),$(B)/lib$(r).a),$(LIBS))
	$(CC) $(LDFLAGS) -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group -lcmocka $(LDLIBS)
endef
$(foreach t,$(notdir $(UNIT_BINS)),$(eval $(eval done_$(call test_room,$(t)):=)$(call unit_rule,$(t))))

$(B)/unit/%.o: tests/unit/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests/unit $(CFLAGS) -MMD -MP -c -o $@ $<

unit-bins: $(UNIT_BINS)

-include $(OBJS:.o=.d) $(B)/main.d $(UNIT_BINS:=.d)

.PHONY: all unit-bins
.SECONDARY:
