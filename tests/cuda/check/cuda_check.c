/* cuda_check.c: runs the checks of all kernels, or those that are named.
 *
 *     cuda_check [--schedules N] [--quiet] MODULE.so... [-- NAME...]
 *
 * A module is a PTX file, translated and compiled. Prints for each check "ok NAME: ..." or
 * "not ok NAME: WHY", a fault that the emulator found or a number that is off; the exit code is 1
 * where one failed. --quiet: the emulator itself prints nothing. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cuda_check.h"

enum { MOST_BLOCKS_OF_MEMORY = 512, MOST_HASHES = 1 << 16, MOST_KERNELS = 256 };

struct compute_cuda cuda;
const struct compute_kernels *reference;
const char *check_case;

static const struct emu_schedule schedules[] = {
    {EMU_FORWARD, 0, false}, {EMU_RANDOM, 1, false}, {EMU_BACKWARD, 0, true},
    {EMU_RANDOM, 2, true},   {EMU_RANDOM, 3, false}, {EMU_BACKWARD, 0, false},
    {EMU_RANDOM, 4, false},  {EMU_FORWARD, 0, true}, {EMU_RANDOM, 5, false}};

static void *memory[MOST_BLOCKS_OF_MEMORY];
static size_t n_memory;
static char case_text[128], failure[512];
static uint32_t random_state;
static uint64_t hashes[MOST_HASHES];
static size_t n_hashes, n_compared; /* hashes of the first schedule; numbers compared */
static int schedule;
static const char *launched[MOST_KERNELS];
static size_t n_launched;

/* ------------------------------------------------------------------ memory */

void begin_case(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(case_text, sizeof case_text, format, args);
    va_end(args);
    check_case = case_text;
    random_state = 1;
    emu_free_all();
    while (n_memory)
        free(memory[--n_memory]);
}

void *host_zeros(size_t bytes)
{
    void *p = calloc(1, bytes + 1);
    CHECK(p && n_memory < MOST_BLOCKS_OF_MEMORY);
    return memory[n_memory++] = p;
}

uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(random_state >> 8) * n) >> 24);
}

float *host_random(size_t n, float scale)
{
    float *x = host_zeros(n * sizeof *x);
    for (size_t i = 0; i < n; i++) /* four together: nearly normal */
        for (int j = 0; j < 4; j++)
            x[i] += scale * ((float)random_below(1 << 16) / 32768.0f - 1) * 0.87f;
    return x;
}

size_t act_bytes(size_t n)
{
    return n * compute_dtype_size(cuda.dtype);
}

void *host_act(size_t n, float scale)
{
    float *x = host_random(n, scale);
    void *y = host_zeros(act_bytes(n));
    reference->to_act(n, x, y);
    return y;
}

float act_at(const void *x, int64_t i)
{
    return cuda.dtype == COMPUTE_F32 ? ((const float *)x)[i] : bf16_load(((const bf16_t *)x)[i]);
}

void *device_new(size_t bytes)
{
    return emu_alloc(bytes);
}

void *device_copy(const void *host, size_t bytes)
{
    void *p = emu_alloc(bytes);
    emu_upload(p, host, bytes);
    return p;
}

/* ------------------------------------------------------------------ comparisons */

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void fail(const char *format, ...)
{
    char what[256];
    va_list args;
    if (failure[0]) return;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    snprintf(failure, sizeof failure, "%s, %s, schedule %d: %s",
             cuda.dtype == COMPUTE_F32 ? "fp32" : "bf16", case_text, schedule, what);
}

/* Under the first schedule the bits are noted, under others compared. */
static void same_bits(const char *what, const void *got, size_t bytes, size_t *at)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ ((const uint8_t *)got)[i]) * 0x100000001b3u;
    CHECK(*at < MOST_HASHES);
    if (schedule == 0)
        hashes[*at] = h;
    else if (hashes[*at] != h)
        fail("%s: other bits than under the first schedule", what);
    ++*at;
}

static size_t hash_at; /* of this run of a check */

static bool arrived(const char *what, const void *got, size_t bytes)
{
    n_compared += bytes;
    if (!emu_written(got, bytes))
        fail("%s: not all of it was written", what);
    else
        same_bits(what, got, bytes, &hash_at);
    return emu_written(got, bytes);
}

static void compare(const char *what, int64_t n, float bound, float step, float got, float want,
                    float most)
{
    float allowed = bound * most + step * fabsf(want);
    if (isnan(want) ? isnan(got) : got == want || fabsf(got - want) <= allowed) return;
    fail("%s[%lld] is %.9g, the reference says %.9g (largest %.3g)", what, (long long)n,
         (double)got, (double)want, (double)most);
}

void want_f32(const char *what, const float *got, const float *want, size_t n, float bound)
{
    float most = 0;
    if (!arrived(what, got, n * sizeof *got)) return;
    for (size_t i = 0; i < n; i++)
        if (isfinite(want[i])) most = fmaxf(most, fabsf(want[i]));
    for (size_t i = 0; i < n && !failure[0]; i++)
        compare(what, (int64_t)i, bound, 0, got[i], want[i], most);
}

void want_act(const char *what, const void *got, const void *want, size_t n, float bound)
{
    float most = 0, step = cuda.dtype == COMPUTE_F32 ? 0 : 0x1p-7f;
    if (!arrived(what, got, act_bytes(n))) return;
    for (size_t i = 0; i < n; i++)
        if (isfinite(act_at(want, (int64_t)i))) most = fmaxf(most, fabsf(act_at(want, (int64_t)i)));
    for (size_t i = 0; i < n && !failure[0]; i++)
        compare(what, (int64_t)i, bound, step, act_at(got, (int64_t)i), act_at(want, (int64_t)i),
                most);
}

void want_bytes(const char *what, const void *got, const void *want, size_t bytes)
{
    if (!arrived(what, got, bytes)) return;
    for (size_t i = 0; i < bytes; i++)
        if (((const uint8_t *)got)[i] != ((const uint8_t *)want)[i]) {
            fail("%s differs from byte %zu on", what, i);
            return;
        }
}

bool check_format(int format)
{
    if (format > COMPUTE_BF16 || failure[0]) return false;
    cuda.dtype = (enum compute_dtype)format;
    reference = compute_kernels_reference(cuda.dtype);
    return true;
}

/* ------------------------------------------------------------------ the device */

static void launch(void *device, const struct compute_cuda_launch *l)
{
    (void)device;
    struct emu_launch e = {.kernel = l->kernel,
                           .grid = {l->grid[0], l->grid[1], l->grid[2]},
                           .block = l->block,
                           .shared = l->shared,
                           .parameters = l->args,
                           .parameter_bytes = l->args_bytes};
    size_t i = 0;
    while (i < n_launched && launched[i] != l->kernel)
        i++;
    if (i == n_launched && n_launched < MOST_KERNELS) launched[n_launched++] = l->kernel;
    if (!failure[0] && !emu_run(&e)) fail("%s", emu_first_fault);
}

static void *scratch(void *device, size_t bytes)
{
    (void)device;
    return emu_alloc(bytes);
}

/* ------------------------------------------------------------------ main */

static bool run_check(const struct check *c, int n_schedules)
{
    failure[0] = 0;
    n_hashes = n_compared = 0;
    n_launched = 0;
    for (schedule = 0; schedule < n_schedules && !failure[0]; schedule++) {
        emu_schedule = schedules[schedule];
        hash_at = 0;
        emu_clear_reports();
        c->run();
        if (schedule == 0) n_hashes = hash_at;
        if (hash_at != n_hashes) fail("another number of results");
    }
    if (failure[0])
        printf("not ok %s: %s\n", c->name, failure);
    else
        printf("ok %s: %zu results, %zu kernels, %d schedules\n", c->name, n_hashes, n_launched,
               n_schedules);
    fflush(stdout);
    return !failure[0];
}

static bool wanted(const char *name, int n, char **names)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) return true;
    return n == 0;
}

int main(int argc, char **argv)
{
    static const struct check *const lists[] = {row_checks, expert_checks, vector_checks,
                                                attention_checks, product_checks};
    int n_schedules = 3, at = 1, failed = 0, ran = 0;
    cuda.launch = launch;
    cuda.scratch = scratch;
    for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
        if (strcmp(argv[at], "--schedules") == 0 && at + 1 < argc)
            n_schedules = (int)strtol(argv[++at], NULL, 10);
        else if (strcmp(argv[at], "--quiet") == 0)
            emu_quiet = true;
        else if (!emu_open(argv[at]))
            return 2;
    }
    at += at < argc;
    n_schedules = MIN(MAX(n_schedules, 1), (int)ARRAY_LEN(schedules));
    for (size_t l = 0; l < ARRAY_LEN(lists); l++)
        for (const struct check *c = lists[l]; c->name; c++)
            if (wanted(c->name, argc - at, argv + at)) {
                ran++;
                failed += !run_check(c, n_schedules);
            }
    if (!ran) fprintf(stderr, "cuda_check: there is no check of that name\n");
    return failed || !ran ? 1 : 0;
}
