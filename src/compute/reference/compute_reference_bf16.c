/* compute_reference_bf16.c: the reference kernels for activations in bfloat16. */
#define ACT_IS_BF16     1
#define REFERENCE_TABLE compute_reference_table_bf16
#define REFERENCE_NAME  "reference bf16"
#include "compute/reference/compute_reference_table_internal.h"
