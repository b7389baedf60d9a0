/* bench_profile.h: where the time of a step goes, operation by operation.
 *
 * The linker's --wrap (bench/bench.mk) puts a clock around every call of a compute_* operation that
 * another object makes, so the program that is measured is the program that ships: nothing in
 * src/ knows of it. One operation inside another counts to the outer one. Calls come from the
 * training thread only; what they cost includes their waiting for the pool. */
#ifndef COLOSSUS_BENCH_PROFILE_H
#define COLOSSUS_BENCH_PROFILE_H

#include "base/base.h"

struct profile_row {
    char name[64];     /* "attention backward", "linear 512>2048 x8 forward" */
    const char *group; /* "products", "attention", "norms", ... */
    double seconds, calls;
    double flops; /* of matrix products, padding included; 0: not counted */
    bool backward;
};

void profile_reset(void); /* forgets the times, keeps the layers it has seen */
/* Rows with calls, slowest first; valid until the next call of an operation. */
const struct profile_row *profile_rows(size_t *count);
/* When the first operation of a backward pass (the loss with its gradient included) began since
 * profile_reset or profile_mark; 0: none yet. */
double profile_backward_began_s(void);
void profile_mark(void);

#endif
