# bench.mk: what bench_train needs beside the rule for every bench_*.c: the profile of operations,
# which the linker puts around the calls of compute_* (bench/lib/bench_profile.h).

BENCH_WRAP := attention_forward attention_backward rmsnorm rmsnorm_backward seam_forward \
    seam_backward glu_forward glu_backward router_forward router_backward dispatch gather combine \
    scale embed embed_backward adamw rope cross_entropy sum_squares linear_new linear_update \
    linear_forward linear_backward_input linear_backward_weight

$(B)/bench/bench_train: $(B)/bench/lib/bench_profile.o
$(B)/bench/bench_train: private LDFLAGS += $(B)/bench/lib/bench_profile.o \
    $(BENCH_WRAP:%=-Wl,--wrap=compute_%)
$(B)/bench/bench_train.o $(B)/bench/lib/bench_profile.o: private CPPFLAGS += -Ibench

-include $(B)/bench/lib/bench_profile.d
