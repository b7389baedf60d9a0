/* compute_x86_linear_internal.h: products in bfloat16 by AMX tiles: what their files share. */
#ifndef COLOSSUS_COMPUTE_X86_LINEAR_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_LINEAR_INTERNAL_H

#include "compute/core/compute_linear_internal.h"

/* Only where compute_x86_has_amx(). */
extern const struct linear_ops compute_x86_linear_amx;

void compute_x86_linear_gradient_amx(compute_linear_t *l, const struct linear_call *k);

/* The general product, bfloat16 operands. */
void compute_x86_matmul_amx(compute_t *c, const struct compute_matmul *m);

#endif
