/* emu_device.h: what the C that was made of PTX stands on. Registers are unsigned integers of their
 * width. Every function that a fault can be found in takes the PTX line of its instruction. */
#ifndef EMU_DEVICE_H
#define EMU_DEVICE_H

#include <math.h>
#include <string.h>

#include "emu.h"

enum { EMU_SHARED_BASE = 1024 }; /* the address of the first byte: 0 is nobody's */
enum emu_space { EMU_GENERIC, EMU_GLOBAL, EMU_SHARED, EMU_LOCAL, EMU_PARAMETER };
enum emu_access { EMU_READ, EMU_WRITE, EMU_ATOMIC };

struct emu_dim {
    uint32_t x, y, z;
};
struct emu_copy { /* cp.async */
    uint8_t *to;
    const uint8_t *from;
    uint32_t bytes, valid; /* valid of them come from `from`, the others are zeros */
    int group, line;
};
/* What a lane hands to an operation of its warp, and gets back. */
struct emu_slot {
    uint32_t a[4], b[2], mask;
    float c[4];
    const void *p;
    uint32_t kind, arg, clamp;
    uint64_t desc[2];
    float *d;
    bool flag;
};
enum emu_state { EMU_READY, EMU_AT_BARRIER, EMU_AT_WARP, EMU_AT_GROUP, EMU_AT_PHASE, EMU_GONE };
enum { EMU_MAX_COPIES = 128, EMU_MAX_PRODUCTS = 64 };
struct emu_thread {
    void *stack;
    uint32_t index, warp, lane;
    struct emu_dim tid;
    enum emu_state state;
    int line;                         /* where it waits */
    uint32_t block_epoch, warp_epoch; /* barriers passed */
    uint32_t fences;                  /* fence.proxy.async */
    uint8_t *local;                   /* its local memory */
    uint32_t local_bytes;
    struct emu_slot slot;
    const struct emu_mbar *phase_of; /* AT_PHASE: waits until the phase is no longer `parity` */
    uint32_t parity;
    int group, n_copies; /* cp.async: groups committed, copies in flight */
    int product_group;
    struct emu_copy copies[EMU_MAX_COPIES];
};
extern struct emu_thread *emu_self;
extern struct emu_dim emu_block, emu_grid, emu_block_dim;
extern uint8_t *emu_smem;

/* The bytes at an address, after all checks; where these fail, bytes that belong to nobody. */
void *emu_at(enum emu_space space, uint64_t address, uint32_t bytes, enum emu_access kind,
             int line);
void emu_fault(int line, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Counts a jump, so that a kernel that never ends is noticed. */
void emu_jump(int line);
void emu_local(uint8_t *at, uint32_t bytes);

void emu_barrier(uint32_t id, uint32_t threads, int line); /* threads 0: all */
uint32_t emu_barrier_count(bool mine, int line);           /* bar.red over the block */
enum emu_shuffle { EMU_SHUFFLE_XOR, EMU_SHUFFLE_UP, EMU_SHUFFLE_DOWN, EMU_SHUFFLE_INDEX };
struct emu_shuffle_args {
    enum emu_shuffle kind;
    uint32_t value, arg, clamp, members;
};
uint32_t emu_shuffle(struct emu_shuffle_args a, bool *valid, int line);
uint32_t emu_ballot(bool mine, uint32_t members, int line);
void emu_warp_sync(uint32_t members, int line);
uint32_t emu_elect(uint32_t members, bool *mine, int line);
/* D = A B + C of a warp, m16n8k16 of bfloat16: registers as the PTX manual lays them out. */
void emu_mma(const uint32_t a[4], const uint32_t b[2], float c[4], int line);
void emu_ldmatrix(uint32_t address, int tiles, bool transposed, uint32_t out[4], int line);

void emu_copy_async(uint32_t to, uint64_t from, uint32_t bytes, uint32_t valid, int line);
void emu_copy_commit(void);
void emu_copy_wait(int but, int line); /* all groups but the last `but` */

struct emu_mbar { /* in shared memory */
    int32_t bytes;
    uint16_t count;
    uint8_t missing, phase;
};
void emu_mbar_init(uint32_t at, uint32_t count, int line);
void emu_mbar_arrive(uint32_t at, uint32_t bytes, int line);
bool emu_mbar_wait(uint32_t at, uint32_t parity, int line); /* always true, once it returns */
struct emu_bulk {
    uint32_t to, bar;
    uint64_t map;
    int32_t x, y;
};
void emu_bulk_load(struct emu_bulk b, int line);
struct emu_wgmma {
    int n;
    uint64_t a, b;
    bool keep;
    float *d; /* n / 2 of this thread */
};
void emu_wgmma(struct emu_wgmma w, int line);
void emu_wgmma_commit(void);
void emu_wgmma_wait(int but, int line);

/* ------------------------------------------------------------------ numbers */

static inline float emu_f(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline uint32_t emu_uf(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static inline double emu_d(uint64_t u)
{
    double f;
    memcpy(&f, &u, 8);
    return f;
}

static inline uint64_t emu_ud(double f)
{
    uint64_t u;
    memcpy(&u, &f, 8);
    return u;
}

static inline float emu_bf16_load(uint16_t x)
{
    return emu_f((uint32_t)x << 16);
}

static inline uint16_t emu_bf16(float x)
{
    uint32_t u = emu_uf(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fff; /* the one NaN that cvt makes */
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* Subnormal numbers become zeros of their sign. */
static inline float emu_ftz(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

/* The least exact result that the manual allows of an approximation: the fraction cut to `bits`. */
static inline float emu_cut(float x, int bits)
{
    uint32_t u = emu_uf(x);
    return isfinite(x) ? emu_f(u & (~0u << (23 - bits))) : x;
}

/* a b + c rounded down, towards zero, up: from the sum in double. */
static inline float emu_fma_to(float a, float b, float c, int way)
{
    double d = (double)a * (double)b + (double)c;
    float f = (float)d;
    if (way == 0) way = d > 0 ? -1 : 1;
    if (way < 0 && (double)f > d) f = nextafterf(f, -INFINITY);
    if (way > 0 && (double)f < d) f = nextafterf(f, INFINITY);
    return f;
}

/* To a whole number of `bits` bits, the nearest that there is; a NaN becomes 0. */
static inline int64_t emu_to_signed(double x, int bits)
{
    double most = ldexp(1, bits - 1);
    if (isnan(x)) return 0;
    if (x >= most) return bits == 64 ? INT64_MAX : (int64_t)most - 1;
    return x <= -most ? (bits == 64 ? INT64_MIN : -(int64_t)most) : (int64_t)x;
}

static inline uint64_t emu_to_unsigned(double x, int bits)
{
    double most = ldexp(1, bits);
    if (!(x > 0)) return 0;
    if (x >= most) return bits == 64 ? UINT64_MAX : (uint64_t)most - 1;
    return (uint64_t)x;
}

static inline float emu_min(float a, float b)
{
    return a != a ? (b != b ? emu_f(0x7fffffffu) : b) : fminf(a, b);
}

static inline float emu_max(float a, float b)
{
    return a != a ? (b != b ? emu_f(0x7fffffffu) : b) : fmaxf(a, b);
}

#define EMU_FLOOR(type, a, b)                                   \
    static inline type emu_div_##type(type x, type y, int line) \
    {                                                           \
        if (y == 0) emu_fault(line, "division by zero");        \
        return y == 0 ? (type)-1 : a;                           \
    }                                                           \
    static inline type emu_rem_##type(type x, type y, int line) \
    {                                                           \
        if (y == 0) emu_fault(line, "division by zero");        \
        return y == 0 ? x : b;                                  \
    }
EMU_FLOOR(uint16_t, (uint16_t)(x / y), (uint16_t)(x % y))
EMU_FLOOR(uint32_t, x / y, x % y)
EMU_FLOOR(uint64_t, x / y, x % y)
EMU_FLOOR(int16_t, (int16_t)(x / y), (int16_t)(x % y))
EMU_FLOOR(int32_t, y == -1 ? (int32_t)(0u - (uint32_t)x) : x / y, y == -1 ? 0 : x % y)
EMU_FLOOR(int64_t, y == -1 ? (int64_t)(0ull - (uint64_t)x) : x / y, y == -1 ? 0 : x % y)

#endif
