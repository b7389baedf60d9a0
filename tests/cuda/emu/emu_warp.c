/* emu_warp.c: operations of a whole warp: shuffles, votes, products of tensor cores, ldmatrix. How
 * the numbers of a tile lie in the lanes' registers: PTX ISA, "Matrix fragments for mma.m16n8k16". */
#include "emu_internal.h"

static void shuffle_all(struct emu_thread *warp, uint32_t members)
{
    for (uint32_t i = 0; i < 32; i++) {
        struct emu_slot *s = &warp[i].slot;
        if (!(members >> i & 1)) continue;
        uint32_t segment = s->clamp >> 8 & 31, most = (i & segment) | (s->clamp & 31 & ~segment);
        uint32_t b = s->arg & 31, from = i;
        bool valid = true;
        if (s->kind == EMU_SHUFFLE_XOR) {
            from = i ^ b;
            valid = from <= most;
        } else if (s->kind == EMU_SHUFFLE_DOWN) {
            from = i + b;
            valid = from <= most;
        } else if (s->kind == EMU_SHUFFLE_INDEX) {
            from = (i & segment) | (b & ~segment);
            valid = from <= most;
        } else {
            valid = i >= b + most; /* the lowest lane of the segment stands in for the highest */
            from = i - b;
        }
        if (!valid) from = i;
        s->flag = valid;
        if (!(members >> from & 1))
            emu_fault(warp[i].line, "a shuffle reads a lane that is not in it");
        s->a[1] = warp[from & 31].slot.a[0];
    }
}

uint32_t emu_shuffle(struct emu_shuffle_args a, bool *valid, int line)
{
    struct emu_slot *s = &emu_self->slot;
    s->a[0] = a.value;
    s->kind = a.kind;
    s->arg = a.arg;
    s->clamp = a.clamp;
    emu_meet(a.members, shuffle_all, line);
    if (valid) *valid = s->flag;
    return s->a[1];
}

static void ballot_all(struct emu_thread *warp, uint32_t members)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < 32; i++)
        if ((members >> i & 1) && warp[i].slot.flag) found |= 1u << i;
    for (uint32_t i = 0; i < 32; i++)
        if (members >> i & 1) warp[i].slot.a[1] = found;
}

uint32_t emu_ballot(bool mine, uint32_t members, int line)
{
    emu_self->slot.flag = mine;
    emu_meet(members, ballot_all, line);
    return emu_self->slot.a[1];
}

static void sync_all(struct emu_thread *warp, uint32_t members)
{
    for (uint32_t i = 0; i < 32; i++)
        if (members >> i & 1) warp[i].warp_epoch++;
}

void emu_warp_sync(uint32_t members, int line)
{
    /* Of a part of a warp no order is kept: what these lanes then touch shows as a race. */
    emu_meet(members, members == ~0u ? sync_all : ballot_all, line);
}

uint32_t emu_elect(uint32_t members, bool *mine, int line)
{
    uint32_t first = (uint32_t)__builtin_ctz(members);
    emu_meet(members, ballot_all, line);
    *mine = emu_self->lane == first;
    return first;
}

/* ------------------------------------------------------------------ tiles */

static float half_of(uint32_t word, int i)
{
    return emu_bf16_load((uint16_t)(word >> 16 * i));
}

/* With g = lane / 4 and t = lane % 4: A has rows g + 8 (i & 1), columns 2t + 8 (i >> 1) + {0, 1};
 * B the same of columns g; C rows g + 8 (i >> 1), columns 2t + (i & 1). */
static void mma_all(struct emu_thread *warp, uint32_t members)
{
    float A[16][16], B[8][16];
    (void)members;
    for (int l = 0; l < 32; l++)
        for (int h = 0, g = l / 4, t = l % 4; h < 2; h++) {
            for (int i = 0; i < 4; i++)
                A[g + 8 * (i & 1)][2 * t + 8 * (i >> 1) + h] = half_of(warp[l].slot.a[i], h);
            for (int i = 0; i < 2; i++)
                B[g][2 * t + 8 * i + h] = half_of(warp[l].slot.b[i], h);
        }
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++) {
            const float *a = A[l / 4 + 8 * (i >> 1)], *b = B[2 * (l % 4) + (i & 1)];
            float sum = 0;
            for (int k = 0; k < 16; k++)
                sum += a[k] * b[k];
            warp[l].slot.c[i] += sum;
        }
}

void emu_mma(const uint32_t a[4], const uint32_t b[2], float c[4], int line)
{
    struct emu_slot *s = &emu_self->slot;
    memcpy(s->a, a, sizeof s->a);
    memcpy(s->b, b, sizeof s->b);
    memcpy(s->c, c, sizeof s->c);
    emu_meet(~0u, mma_all, line);
    memcpy(c, s->c, sizeof s->c);
}

/* Lane 8 i + r gives the address of row r of tile i. Lane l gets of each tile the elements 2t and
 * 2t + 1 of row g; transposed: of column g. */
static void ldmatrix_all(struct emu_thread *warp, uint32_t members)
{
    (void)members;
    for (int l = 0; l < 32; l++)
        for (uint32_t i = 0; i < warp[l].slot.kind; i++) {
            uint32_t word = 0;
            for (int h = 0; h < 2; h++) {
                int row = l / 4, column = 2 * (l % 4) + h;
                if (warp[l].slot.flag) row = 2 * (l % 4) + h, column = l / 4;
                uint16_t x;
                memcpy(&x, (const char *)warp[8 * (int)i + row].slot.p + 2 * column, 2);
                word |= (uint32_t)x << 16 * h;
            }
            warp[l].slot.a[i] = word;
        }
}

void emu_ldmatrix(uint32_t address, int tiles, bool transposed, uint32_t out[4], int line)
{
    struct emu_slot *s = &emu_self->slot;
    if (emu_self->lane < 8u * (uint32_t)tiles)
        s->p = emu_at(EMU_SHARED, address, 16, EMU_READ, line);
    s->kind = (uint32_t)tiles;
    s->flag = transposed;
    emu_meet(~0u, ldmatrix_all, line);
    memcpy(out, s->a, sizeof s->a);
}
