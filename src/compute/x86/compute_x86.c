/* compute_x86.c: which x86 tables this CPU can run.
 *
 * This file has no -m flags: it may ask, and must not use. AVX-512 here means F, BW, VL and DQ
 * (Skylake-X and Zen 4 on); bf16 attention goes to AMX tiles where the CPU has them and Linux
 * grants their state, which a process must ask for once before its first tile instruction
 * (arch_prctl(2), ARCH_REQ_XCOMP_PERM; the permission covers all threads). */
#include <cpuid.h>
#include <math.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "compute/x86/compute_x86_internal.h"

enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("fma");
}

/* CPUID leaf 7: sub-leaf 0, edx bits 22 (AMX-BF16) and 24 (AMX-TILE); sub-leaf 1, eax bit 5
 * (AVX512-BF16). Linux refuses the permission where the operating system's part is missing. */
static bool ask_for_amx(void)
{
    unsigned a, b, c, d, a1, b1, c1, d1;
    if (!has_avx512() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) ||
        !__get_cpuid_count(7, 1, &a1, &b1, &c1, &d1))
        return false;
    if (!(d >> 22 & 1) || !(d >> 24 & 1) || !(a1 >> 5 & 1)) return false;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static struct compute_kernels f32_table, bf16_table, amx_table;
static bool amx_found;

/* The tables with AVX-512, by what else the CPU has. */
static void find_tables(void)
{
    f32_table = compute_x86_f32_avx512;
    bf16_table = compute_x86_bf16_avx512;
    if (__builtin_cpu_supports("avx512vnni"))
        f32_table.band = bf16_table.band = compute_x86_band_dot;
    if (__builtin_cpu_supports("avx512bf16")) {
        bf16_table.panel = compute_x86_panel_dot;
        bf16_table.paged_scratch = compute_x86_paged_dot_scratch;
        bf16_table.paged_floats = compute_x86_paged_dot_floats;
        bf16_table.paged_attention = compute_x86_paged_dot;
        bf16_table.paged_sum = compute_x86_paged_dot_sum;
        bf16_table.paged_join = compute_x86_paged_dot_join;
    }
    amx_found = ask_for_amx();
    amx_table = bf16_table;
    amx_table.name = "avx512 + amx bf16";
    amx_table.attention_scratch = compute_x86_amx_attention_scratch;
    amx_table.attention_forward = compute_x86_amx_attention_forward;
    amx_table.attention_backward = compute_x86_amx_attention_backward;
}

bool compute_x86_has_amx(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_tables);
    return amx_found;
}

const struct compute_kernels *compute_kernels_avx2(enum compute_dtype dtype)
{
    unsigned a, b, c, d; /* leaf 1, ecx bit 29: F16C */
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return NULL;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 29 & 1)) return NULL;
    return dtype == COMPUTE_F32 ? &compute_x86_f32_avx2 : &compute_x86_bf16_avx2;
}

const struct compute_kernels *compute_kernels_avx512(enum compute_dtype dtype)
{
    if (!has_avx512()) return NULL;
    bool amx = compute_x86_has_amx(); /* fills the tables */
    if (dtype == COMPUTE_F32) return &f32_table;
    return amx ? &amx_table : &bf16_table;
}

void compute_x86_temperatures(int64_t t, int64_t n, int64_t temperature_len, float scale,
                              float *out)
{
    for (int64_t i = 0; i < n; i++) {
        bool warm = temperature_len > 0 && t + i > temperature_len;
        double factor = warm ? log2((double)(t + i)) / log2((double)temperature_len) : 1.0;
        out[i] = (float)factor * scale;
    }
}
