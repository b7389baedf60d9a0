/* compute_x86_scores_internal.h: what kernels of attention in vectors share: when scores need no
 * running maximum, and rows as floats.
 *
 * Included by the x86 kernels of attention only (see compute_x86_act_internal.h). */
#ifndef COLOSSUS_COMPUTE_X86_SCORES_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_SCORES_INTERNAL_H

#include "compute/x86/compute_x86_act_internal.h"

#define ATT_BOUND   86.0f  /* 2^86 * 2^31 keys < 2^127; 2^-86 stays a normal number after scaling */
#define ATT_NOTHING -1e30f /* running maximum before the first key */

/* to[r, d] = x[r, d], zeros behind h up to hp, whole vectors. */
static inline void att_widen(const act_t *x, int64_t ld, int64_t count, int64_t h, int64_t hp,
                             float *to)
{
    for (int64_t r = 0; r < count; r++)
        VECTOR_LOOP(d, n, h, { v_store(to + r * hp + d, act_load_n(x + r * ld + d, n)); });
}

#endif
