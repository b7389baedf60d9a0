/* compute_reference_f32.c: the reference kernels for activations in float. */
#define ACT_IS_BF16     0
#define REFERENCE_TABLE compute_reference_table_f32
#define REFERENCE_NAME  "reference f32"
#include "compute/reference/compute_reference_table_internal.h"
