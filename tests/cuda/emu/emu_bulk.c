/* emu_bulk.c: Hopper's asynchronous machinery: barriers in memory with phases, bulk copies by tensor
 * maps, products of warp groups.
 *
 * A late schedule lands a copy when nobody can go on without it; until then its target holds NaN
 * and whoever touches it is reported. A product takes its operands when it is issued and looks again
 * when it is waited for: they must not have changed. Operands are bfloat16, K-major, in the pattern
 * of 128 bytes: bits 4 to 6 of a byte's place are changed by bits 7 to 9. Anything else is a fault.
 * Sources: PTX ISA, "Asynchronous warpgroup level matrix instructions", "mbarrier", "Tensor copies". */
#include "emu_internal.h"

enum { MAX_BULK = 64, GROUPS = EMU_MAX_THREADS / 128 };

static struct bulk {
    struct emu_bulk copy;
    int line;
} bulks[MAX_BULK];
static int n_bulks;
static struct product {
    struct emu_wgmma w;
    uint64_t hash;
    int group, line;
} products[GROUPS][EMU_MAX_PRODUCTS];
static int n_products[GROUPS];

/* ------------------------------------------------------------------ barriers in memory */

static struct emu_mbar *mbar_at(uint32_t at, bool set, int line)
{
    uint8_t *p = emu_smem + (at - EMU_SHARED_BASE);
    if (at < EMU_SHARED_BASE || at % 8 != 0 || at + 8 > EMU_SHARED_BASE + EMU_SHARED_MAX ||
        !emu_there(p, 8, set)) {
        emu_abandon(line, set ? "there is no barrier that was made at this address"
                              : "a barrier out of bounds");
        return NULL;
    }
    return (struct emu_mbar *)(void *)p;
}

void emu_mbar_init(uint32_t at, uint32_t count, int line)
{
    struct emu_mbar *m = mbar_at(at, false, line);
    if (count == 0 || count > 255) emu_abandon(line, "a barrier of so many is not modelled");
    *m = (struct emu_mbar){.count = (uint16_t)count, .missing = (uint8_t)count};
    emu_mark_async_write(m, 8);
}

static void flip(struct emu_mbar *m)
{
    if (m->missing || m->bytes) return;
    m->phase ^= 1;
    m->missing = (uint8_t)m->count;
}

void emu_mbar_arrive(uint32_t at, uint32_t bytes, int line)
{
    struct emu_mbar *m = mbar_at(at, true, line);
    if (!m->missing) emu_abandon(line, "more arrivals than the barrier expects");
    m->bytes += (int32_t)bytes;
    m->missing--;
    flip(m);
}

bool emu_phase_over(const struct emu_thread *t)
{
    return t->phase_of->phase != t->parity;
}

bool emu_mbar_wait(uint32_t at, uint32_t parity, int line)
{
    struct emu_thread *t = emu_self;
    t->phase_of = mbar_at(at, true, line);
    t->parity = parity & 1;
    if (emu_phase_over(t)) return true;
    t->line = line;
    t->state = EMU_AT_PHASE;
    emu_to_scheduler();
    return true;
}

/* ------------------------------------------------------------------ bulk copies */

static uint32_t swizzle(uint32_t at)
{
    return at ^ (at >> 7 & 7) << 4;
}

static void land(const struct bulk *b)
{
    const struct emu_tensor_map *m = (const struct emu_tensor_map *)(uintptr_t)b->copy.map;
    struct emu_mbar *bar = mbar_at(b->copy.bar, true, b->line);
    for (uint32_t r = 0; r < m->box[1]; r++)
        for (uint32_t k = 0; k < m->box[0]; k++) {
            uint16_t v = 0;
            int64_t x = (int64_t)b->copy.x + k, y = (int64_t)b->copy.y + r;
            if (x >= 0 && (uint64_t)x < m->dims[0] && y >= 0 && (uint64_t)y < m->dims[1]) {
                const uint16_t *from = (const uint16_t *)m->base + (uint64_t)y * m->stride + x;
                if (!emu_there(from, 2, false)) {
                    emu_fault(b->line, "a bulk copy from out of bounds");
                    return;
                }
                v = *from;
            }
            uint32_t at = b->copy.to - EMU_SHARED_BASE + (r * m->box[0] + k) * 2;
            memcpy(emu_smem + swizzle(at), &v, 2);
        }
    uint32_t bytes = m->box[0] * m->box[1] * 2;
    emu_mark_async_write(emu_smem + (b->copy.to - EMU_SHARED_BASE), bytes);
    bar->bytes -= (int32_t)bytes;
    flip(bar);
}

void emu_bulk_load(struct emu_bulk b, int line)
{
    const struct emu_tensor_map *m = (const struct emu_tensor_map *)(uintptr_t)b.map;
    uint8_t *to = emu_smem + (b.to - EMU_SHARED_BASE);
    uint32_t bytes = m->box[0] * m->box[1] * 2;
    if (b.map % 64 != 0) emu_abandon(line, "a tensor map not at a multiple of 64 bytes");
    if (m->swizzle != 128 || m->box[0] != 64 || m->box[1] > 256 || m->stride % 8 != 0)
        emu_abandon(line, "this tensor map is not modelled");
    if (b.to < EMU_SHARED_BASE || b.to % 1024 != 0 || !emu_there(to, bytes, false))
        emu_abandon(line,
                    "the target of a bulk copy is out of bounds or not at a multiple of 1024");
    if (n_bulks == MAX_BULK) emu_abandon(line, "more bulk copies in flight than are modelled");
    memset(to, 0xff, bytes);
    emu_flight(to, bytes, true, line);
    struct bulk copy = {b, line};
    if (emu_schedule.early)
        land(&copy);
    else
        bulks[n_bulks++] = copy;
}

bool emu_bulk_land(void)
{
    if (n_bulks == 0) return false;
    struct bulk b = bulks[0];
    n_bulks--;
    memmove(bulks, bulks + 1, sizeof *bulks * (size_t)n_bulks);
    emu_self = &emu_machine.threads[0]; /* for a report */
    land(&b);
    return true;
}

void emu_bulk_begin(void)
{
    n_bulks = 0;
    memset(n_products, 0, sizeof n_products);
}

void emu_bulk_end(void)
{
    if (n_bulks) emu_fault(bulks[0].line, "a bulk copy is still in flight when its block ends");
    for (int g = 0; g < GROUPS; g++)
        if (n_products[g]) emu_fault(products[g][0].line, "a product is never waited for");
}

/* ------------------------------------------------------------------ products */

/* Where element [row][k] of an operand lies behind its descriptor. */
static uint32_t operand_at(uint64_t desc, int row, int k)
{
    uint32_t start = (uint32_t)(desc & 0x3fff) << 4, rows8 = (uint32_t)(desc >> 32 & 0x3fff) << 4;
    uint32_t at = start - EMU_SHARED_BASE + (uint32_t)(row / 8) * rows8;
    return swizzle(at + (uint32_t)(row % 8) * 128 + (uint32_t)k * 2);
}

static uint16_t operand(uint64_t desc, int row, int k)
{
    uint32_t at = operand_at(desc, row, k);
    uint16_t v = 0x7fff;
    if (at + 2 <= EMU_SHARED_MAX) memcpy(&v, emu_smem + at, 2);
    return v;
}

static uint64_t hash_of(const struct emu_wgmma *w)
{
    uint64_t h = 1469598103934665603u;
    for (int i = 0; i < 64 + w->n; i++)
        for (int k = 0; k < 16; k++) {
            uint16_t v = i < 64 ? operand(w->a, i, k) : operand(w->b, i - 64, k);
            h = (h ^ v) * 1099511628211u;
        }
    return h;
}

static void check_operand(uint64_t desc, int rows, int line)
{
    if (desc >> 62 != 1) {
        emu_abandon(line, "only operands in the pattern of 128 bytes are modelled");
        return;
    }
    for (int row = 0; row < rows; row++)
        for (int k = 0; k < 16; k += 8) {
            uint32_t at = operand_at(desc, row, k);
            if (at + 16 > EMU_SHARED_MAX) {
                emu_fault(line, "operand out of bounds");
                return;
            }
            emu_check_fenced(emu_smem + at, 16, line);
        }
}

static void multiply(struct emu_thread *group)
{
    static float A[64][16], B[256][16], D[64][256];
    const struct emu_slot *first = &group[0].slot;
    int n = (int)first->kind;
    for (int i = 1; i < 128; i++)
        if (memcmp(group[i].slot.desc, first->desc, sizeof first->desc) != 0)
            emu_fault(group[i].line, "threads of a warp group name different operands");
    for (int k = 0; k < 16; k++) {
        for (int i = 0; i < 64; i++)
            A[i][k] = emu_bf16_load(operand(first->desc[0], i, k));
        for (int j = 0; j < n; j++)
            B[j][k] = emu_bf16_load(operand(first->desc[1], j, k));
    }
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < n; j++) {
            float sum = 0;
            for (int k = 0; k < 16; k++)
                sum += A[i][k] * B[j][k];
            D[i][j] = sum;
        }
    for (int l = 0; l < 128; l++)
        for (int i = 0; i < n / 2; i++) {
            int row = 16 * (l / 32) + l % 32 / 4 + 8 * (i >> 1 & 1);
            float *d = &group[l].slot.d[i], v = D[row][8 * (i >> 2) + 2 * (l % 4) + (i & 1)];
            *d = group[l].slot.flag ? *d + v : v;
        }
}

void emu_wgmma(struct emu_wgmma w, int line)
{
    struct emu_slot *s = &emu_self->slot;
    uint32_t g = emu_self->index / 128;
    s->desc[0] = w.a;
    s->desc[1] = w.b;
    s->d = w.d;
    s->flag = w.keep;
    s->kind = (uint32_t)w.n;
    if (emu_self->index % 128 == 0) {
        check_operand(w.a, 64, line);
        check_operand(w.b, w.n, line);
        if (n_products[g] == EMU_MAX_PRODUCTS)
            emu_abandon(line, "more products in flight than are modelled");
        products[g][n_products[g]++] =
            (struct product){w, hash_of(&w), emu_self->product_group, line};
    }
    emu_meet_group(multiply, line);
}

void emu_wgmma_commit(void)
{
    emu_self->product_group++;
}

void emu_wgmma_wait(int but, int line)
{
    uint32_t g = emu_self->index / 128;
    int kept = 0;
    if (emu_self->index % 128) return;
    for (int i = 0; i < n_products[g]; i++) {
        struct product p = products[g][i];
        if (p.group >= emu_self->product_group - but)
            products[g][kept++] = p;
        else if (hash_of(&p.w) != p.hash)
            emu_fault(line, "an operand of a product changed before the product was waited for");
    }
    n_products[g] = kept;
}
