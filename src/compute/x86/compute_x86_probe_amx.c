/* compute_x86_probe_amx.c: the speed of AMX tile products on operands that stay in the first-level
 * cache, the roof of the products inside attention. */
#include "compute/x86/compute_x86_amx_internal.h"
#include "compute/x86/compute_x86_internal.h"

double compute_x86_probe_amx(int64_t steps)
{
    static const bf16_t zeros[4 * TILE] __attribute__((aligned(64)));
    tiles_begin();
    tiles_zero();
    const bf16_t *b = zeros + 2 * TILE;
    for (int64_t s = 0; s < steps; s++)
        tiles_multiply(2, (struct tile_operand){zeros, zeros, TILE},
                       (struct tile_operand){b, b, TILE});
    tiles_end();
    return (double)steps * 2 * 4 * 16 * 16 * 32 * 2;
}
