# Nightlight: developer entry.  `make run` tries it, `make test` proves it.
#
#   make              module, promqltest, nightlight-inspect in build/
#   make run          nginx with examples/nginx.conf on 127.0.0.1:9101
#   make run-mtls     the same with client certificates: examples/mtls.conf
#   make test         everything below; ends in the runner's count
#   make check        unit, twin, promql and fuzz-replay tests of core
#   make check-asan   the same under ASan + UBSan   (check-tsan: concurrent ones)
#   make crash        the crash laboratory, all of it (ROUNDS=n SEED=n)
#   make t            integration tests against a real nginx
#   make test-asan    the same with the module under ASan + UBSan
#   make test-dense   what has blocks, all of it with dense ones
#   make tidy         floors, bans, sizes, style
#   make format       clang-format in place
#   make fuzz T=lex S=60     coverage-guided fuzzing of one target
#   make bench        microbenchmarks of core (T=name: one)
#   make test-mainline       t/ against Debian's newest nginx (debootstrap, root)
#   make deb          Debian's package of the module, in build/deb
#   make test-deb     the same, installed and used in a clean root (root)
#   make setup        install what the above need from Debian's packages
#
# Variables: CC=gcc|clang  MODE=opt|asan|tsan|fuzz  V=1 shows commands.

CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
MODE    ?= opt
V       ?= 0
Q       := $(if $(filter 1,$(V)),,@)

B       := build
O       := $(B)/$(notdir $(CC))-$(MODE)
GEN     := $(B)/gen

FLOORS  := base model codec index wire store promql db
CSTD    := -std=c11 -D_GNU_SOURCE
WARN    := -Wall -Wextra -Wshadow -Wvla -Wundef -Wcast-qual -Wstrict-prototypes \
           -Wmissing-prototypes -Wconversion -Werror
# of clang; nginx's build has it on too
WARN    += $(if $(findstring clang,$(CC)),-Wconditional-uninitialized)
OPT     := $(if $(filter opt,$(MODE)),-O2,-O1) -g -ffp-contract=off -fno-math-errno -fPIC
SAN-opt  :=
SAN-asan := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# gcc only says that it does not model fences, which the seqlocks have
SAN-tsan := -fsanitize=thread $(if $(findstring gcc,$(CC)),-Wno-tsan)
SAN-fuzz := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
SAN     := $(SAN-$(MODE))
INCS    := $(addprefix -Icore/,$(FLOORS)) -Icore -I$(GEN)
CFLAGS  += $(CSTD) $(OPT) $(WARN) $(SAN) $(INCS) -MMD -MP
LDLIBS  := -lprotobuf-c -lsnappy -lpcre2-8 -lpthread -lm

# Generated protobuf-c code is not held to our warnings.
GEN_C   := $(patsubst proto/%.proto,$(GEN)/%.pb-c.c,$(wildcard proto/*.proto))
GEN_H   := $(GEN_C:.c=.h)
GEN_O   := $(patsubst $(GEN)/%.c,$(O)/gen/%.o,$(GEN_C))

.DEFAULT_GOAL := all

.PHONY: all lib module run run-mtls setup-run test crash check check-asan check-tsan t tidy format fuzz \
        bench setup clean gen programs tests tests-concurrent module-only \
        test-mainline test-asan test-dense deb test-deb FORCE
.SECONDARY:
.DELETE_ON_ERROR:

all: module programs

gen: $(GEN_C)

$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h: proto/%.proto
	@mkdir -p $(GEN)
	$(Q)protoc-c --c_out=$(GEN) -Iproto $<

$(O)/gen/%.o: $(GEN)/%.c | $(GEN_H)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CSTD) $(OPT) $(SAN) -w -I$(GEN) -c $< -o $@

# ---- core: one archive a folder; a test links only the floors below it ----

define floor_rules
SRC_$(1) := $$(wildcard core/$(1)/*.c)
OBJ_$(1) := $$(patsubst core/%.c,$$(O)/core/%.o,$$(SRC_$(1)))
$$(O)/lib$(1).a: $$(OBJ_$(1)) $$(if $$(filter wire,$(1)),$$(GEN_O))
	@rm -f $$@
	$$(Q)ar rcs $$@ $$^
endef
$(foreach f,$(FLOORS),$(eval $(call floor_rules,$(f))))

BELOW_base   := base
BELOW_model  := model base
BELOW_codec  := codec model base
BELOW_index  := index model base
BELOW_wire   := wire model base
BELOW_store  := store wire index codec model base
BELOW_promql := promql model base
BELOW_db     := db promql store wire index codec model base
BELOW_all    := $(BELOW_db)
libs_of = $(patsubst %,$(O)/lib%.a,$(BELOW_$(1)))

lib: $(call libs_of,all)

$(O)/core/%.o: core/%.c | $(GEN_H)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -c $< -o $@

$(O)/t/%.o: t/%.c | $(GEN_H)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -It/unit -It/lib -c $< -o $@

# ---- tests of core: t/unit/FOLDER/*_test.c, t/twin/*_test.c, t/fuzz ----

define unit_rules
UNIT_$(1) := $$(patsubst t/unit/$(1)/%.c,$$(O)/unit/$(1)/%.t,$$(wildcard t/unit/$(1)/*_test.c))
$$(O)/unit/$(1)/%.t: $$(O)/t/unit/$(1)/%.o $$(call libs_of,$(1))
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(SAN) -o $$@ $$^ $$(LDLIBS)
endef
$(foreach f,$(FLOORS),$(eval $(call unit_rules,$(f))))
UNITS := $(foreach f,$(FLOORS),$(UNIT_$(f)))

TWINS := $(patsubst t/twin/%.c,$(O)/twin/%.t,$(wildcard t/twin/*_test.c))
$(O)/twin/%.t: $(O)/t/twin/%.o $(call libs_of,all)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDLIBS)

# The crash laboratory: t/fault/*_test.c, each with all of fl_*.c.
FAULTS := $(patsubst t/fault/%.c,$(O)/fault/%.t,$(wildcard t/fault/*_test.c))
FAULT_OBJ := $(patsubst t/fault/%.c,$(O)/t/fault/%.o,$(wildcard t/fault/fl_*.c))
$(O)/fault/%.t: $(O)/t/fault/%.o $(FAULT_OBJ) $(call libs_of,all)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDLIBS)

FUZZES := $(patsubst t/fuzz/fuzz_%.c,$(O)/fuzz/%.t,$(wildcard t/fuzz/fuzz_*.c))
$(O)/fuzz/%.t: $(O)/t/fuzz/fuzz_%.o $(O)/t/fuzz/replay.o $(call libs_of,all)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDLIBS)

# The same targets with libFuzzer: make fuzz T=name, CC=clang MODE=fuzz.
$(O)/fuzz/%.fuzzer: $(O)/t/fuzz/fuzz_%.o $(call libs_of,all)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

BENCHES := $(patsubst t/bench/bench_%.c,%,$(wildcard t/bench/bench_*.c))
$(O)/bench/%: $(O)/t/bench/bench_%.o $(call libs_of,all)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDLIBS)

PROMQLTEST_OBJ := $(patsubst t/promql/%.c,$(O)/t/promql/%.o,$(wildcard t/promql/*.c))
$(O)/promqltest: $(PROMQLTEST_OBJ) $(call libs_of,promql)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDLIBS)

INSPECT_OBJ := $(patsubst tools/inspect/%.c,$(O)/tools/inspect/%.o,$(wildcard tools/inspect/*.c))
$(O)/tools/%.o: tools/%.c | $(GEN_H)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -c $< -o $@
$(O)/nightlight-inspect: $(INSPECT_OBJ) $(call libs_of,all)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDLIBS)

# ---- the nginx module, built by nginx's own configure and flags ----

NGX_SRC ?= /usr/share/nginx/src
NGX_CC_OPT ?= -g -O2 -fPIC
M := $(B)/nginx-$(notdir $(CC))$(if $(filter-out opt,$(MODE)),-$(MODE))
MODULE_DEPS := $(wildcard core/*.h core/*/*.[ch] ngx_module/*.[ch])

$(M)/Makefile: config | $(B)
	@mkdir -p $(M)
	$(Q)cd $(NGX_SRC) && bash -c '. ./conf_flags && ./configure \
	    --with-cc=$(CC) --with-cc-opt="$(NGX_CC_OPT) $(SAN)" "$${NGX_CONF_FLAGS[@]}" \
	    --add-dynamic-module=$(CURDIR) --builddir=$(CURDIR)/$(M)' > $(CURDIR)/$(M)/configure.log \
	    || { tail -n 5 $(CURDIR)/$(M)/configure.log; exit 1; }

$(M)/ngx_http_nightlight_module.so: $(M)/Makefile $(MODULE_DEPS)
	$(Q)$(MAKE) --no-print-directory -s $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc)) -C $(NGX_SRC) -f $(CURDIR)/$(M)/Makefile modules

$(B):
	@mkdir -p $(B)

# By rename: a running nginx has the old file mapped.
$(B)/ngx_http_nightlight_module.so: $(M)/ngx_http_nightlight_module.so
	$(Q)cp $< $@.tmp && mv -f $@.tmp $@

module: $(B)/ngx_http_nightlight_module.so
module-only: $(M)/ngx_http_nightlight_module.so

programs: $(B)/promqltest $(if $(INSPECT_OBJ),$(B)/nightlight-inspect)
$(B)/%: $(O)/%
	$(Q)cp $< $@

tests: $(UNITS) $(TWINS) $(FAULTS) $(FUZZES) $(O)/promqltest

check: tests
	$(Q)tools/prove-core $(O) $(B)/prove/$(notdir $(O))
	$(Q)prove --nocolor -j2 $(B)/prove/$(notdir $(O))/*.t

# Tests with threads or processes of their own, under ThreadSanitizer.
CONCURRENT := $(filter %_threads_test.t,$(UNITS) $(TWINS))
tests-concurrent: $(CONCURRENT)

check-tsan:
	$(Q)$(MAKE) --no-print-directory MODE=tsan tests-concurrent
	$(Q)TSAN_OPTIONS=suppressions=t/tsan.supp prove --nocolor --exec '' $(patsubst $(B)/gcc-opt/%,$(B)/gcc-tsan/%,$(CONCURRENT))

# All of t/fault/; `make test` has a sample of it.
crash: module programs $(FAULTS)
	$(Q)$(MAKE) --no-print-directory MODE=asan $(B)/gcc-asan/fault/flip_test.t
	$(Q)ROUNDS="$(ROUNDS)" SEED="$(SEED)" tools/crash

run: setup-run
	$(Q)$(MAKE) --no-print-directory -s module
	$(Q)tools/run

run-mtls: setup-run
	$(Q)$(MAKE) --no-print-directory -s module
	$(Q)tools/run mtls

setup-run:
	$(Q)tools/setup run

setup:
	$(Q)tools/setup all

t: module programs
	$(Q)tools/prove-nginx

test-asan:
	$(Q)tools/test-asan

test-dense:
	$(Q)tools/test-dense

tidy:
	$(Q)tools/tidy

format:
	$(Q)clang-format-14 -i $$(git ls-files -co --exclude-standard -- 'core/*.[ch]' 't/*.[ch]' 'tools/*.[ch]')

# New inputs go to build/fuzz/T, what crashes to build/fuzz/T-crash-*.
S ?= 60
fuzz:
	$(Q)[ -e "t/fuzz/fuzz_$(T).c" ] || { echo "make fuzz T=name, one of:" \
	    $(patsubst t/fuzz/fuzz_%.c,%,$(wildcard t/fuzz/fuzz_*.c)) >&2; exit 2; }
	$(Q)$(MAKE) --no-print-directory CC=clang MODE=fuzz $(B)/clang-fuzz/fuzz/$(T).fuzzer
	@mkdir -p $(B)/fuzz/$(T)
	$(Q)$(B)/clang-fuzz/fuzz/$(T).fuzzer -max_total_time=$(S) -timeout=20 \
	    -artifact_prefix=$(B)/fuzz/$(T)- -print_final_stats=1 \
	    $(B)/fuzz/$(T) t/fuzz/corpus/$(T)

# One JSON line a figure; T=name runs one of them.  Without T also the table
# beside Prometheus and VictoriaMetrics, where the bench for that is.
bench: $(addprefix $(O)/bench/,$(or $(T),$(BENCHES))) $(if $(T),,module)
	$(Q)for b in $(filter $(O)/bench/%,$^); do $$b || exit 1; done
	$(Q)$(if $(T),:,tools/bench-peers)

# One prove run a part; tools/test adds the parts up for the closing line.
test: setup
	$(Q)tools/test

test-mainline:
	$(Q)tools/test-mainline

deb:
	$(Q)tools/setup deb
	$(Q)tools/make-deb

test-deb:
	$(Q)tools/setup deb
	$(Q)tools/test-deb

check-asan:
	$(Q)$(MAKE) --no-print-directory MODE=asan check

clean:
	rm -rf $(B)

-include $(shell find $(O) -name '*.d' 2>/dev/null)
