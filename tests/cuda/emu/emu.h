/* emu.h: a GPU that is not there, as tests see it: device memory, launches, and what was found.
 *
 * Kernels are PTX that tests/cuda/ptx/ptx_to_c.py turned into C. A block's threads are fibers that
 * run one after the other; each runs until it has to wait: at a barrier, at an operation of its whole
 * warp, or for an asynchronous copy. In which order they run, and when copies land, the schedule says:
 * a correct kernel gives the same under each.
 *
 * What is checked at each access (emu_memory.c): that the memory is there, that somebody wrote it
 * before it is read, and that no other thread touches it without a barrier between the two. At each
 * barrier and each operation of a warp: that all who must come do, and come to the same instruction.
 *
 * Not emulated: time, weak memory order, the rounding inside tensor cores, clusters. */
#ifndef EMU_H
#define EMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EMU_MAX_THREADS = 1024, EMU_SHARED_MAX = 227 << 10, EMU_MAX_SHARED_VARIABLES = 16 };

/* A variable in shared memory; bytes 0: the launch says how many there are. */
struct emu_shared {
    const char *name;
    uint32_t at, bytes;
};
struct emu_kernel {
    const char *name;
    void (*run)(const uint8_t *parameters);
    uint32_t parameter_bytes;
    struct emu_shared shared[EMU_MAX_SHARED_VARIABLES];
    int n_shared;
    int most_threads; /* .maxntid; 0: not given */
};
/* Of one PTX file; text_hash: FNV-1a of its bytes, by which the fake driver knows it again. */
struct emu_module {
    const char *file;
    uint64_t text_hash;
    const struct emu_kernel *kernels;
    int n_kernels;
};

struct emu_launch {
    const char *kernel;
    uint32_t grid[3], block;
    uint32_t shared; /* bytes, beside the kernel's own variables */
    const void *parameters;
    uint32_t parameter_bytes;
};

/* How fibers are ordered and when copies land. */
struct emu_schedule {
    enum { EMU_FORWARD, EMU_BACKWARD, EMU_RANDOM } order; /* RANDOM: warps run as far as they can */
    uint32_t seed;
    bool early; /* copies land when they are issued; otherwise as late as is allowed */
};
extern struct emu_schedule emu_schedule;

/* A module in a shared object that was made of a PTX file; NULL and a message on standard error where
 * it cannot be opened. */
const struct emu_module *emu_open(const char *path);
/* Looks in all modules; false and a report where the kernel is unknown or the launch impossible. */
bool emu_run(const struct emu_launch *l);

/* Device memory: a gap lies around each piece, and nothing is written in it before an upload. Host
 * code may read and write it like its own. */
void *emu_alloc(size_t bytes);
void emu_free_all(void);
void emu_upload(void *to, const void *from, size_t bytes);
/* Whether a kernel, or an upload, wrote all of it. */
bool emu_written(const void *at, size_t bytes);

/* How many faults were found since the last emu_clear_reports, and the first one in words. */
extern long emu_faults;
extern char emu_first_fault[512];
extern bool emu_quiet; /* do not print them: a test that plants faults */
void emu_clear_reports(void);

/* A tensor map, as cuTensorMapEncodeTiled would make it of bfloat16 in two dimensions. */
struct emu_tensor_map {
    const void *base;
    uint64_t dims[2], stride; /* elements; stride: of a row */
    uint32_t box[2], swizzle; /* swizzle: bytes of a row of the pattern, 128 */
    uint8_t rest[80];
};

#endif
