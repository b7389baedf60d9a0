/* emu_internal.h: what the files of the emulator share. */
#ifndef EMU_INTERNAL_H
#define EMU_INTERNAL_H

#include "emu_device.h"

/* The block that runs. */
struct emu_machine {
    const struct emu_kernel *kernel;
    const struct emu_module *module;
    const uint8_t *parameters;
    uint32_t parameter_bytes, n, alive;
    uint32_t serial, first_serial; /* of blocks, counted over all launches; first of this launch */
    long jumps;
    bool abandoned; /* a fault from which the block cannot go on */
    struct emu_thread threads[EMU_MAX_THREADS];
};
extern struct emu_machine emu_machine;

/* Runs again when `state` is READY. */
void emu_to_scheduler(void);
void emu_abandon(int line, const char *why);

/* emu_memory.c: at a launch, shared memory as its variables lie in it. */
void emu_shared_layout(const struct emu_kernel *k, uint32_t dynamic);
void emu_shared_clear(void);
/* From the issue of a copy until it lands nobody may look. */
void emu_flight(const void *at, uint32_t bytes, bool begins, int line);
/* Whether each cell was written through the asynchronous proxy, or before its writer's fence. */
void emu_check_fenced(const void *at, uint32_t bytes, int line);
/* Whether it is all there and, where `set`, written. */
bool emu_there(const void *at, uint32_t bytes, bool set);
void emu_mark_async_write(const void *at, uint32_t bytes);

/* emu_async.c, emu_bulk.c: at the end of a thread and of a block; one late copy, when nobody can go
 * on; whether a thread that waits for a phase may. */
void emu_copies_end(void);
void emu_bulk_begin(void);
void emu_bulk_end(void);
bool emu_bulk_land(void);
bool emu_phase_over(const struct emu_thread *t);

/* Waits until all `members` of the warp are at this line, then lets the last one run `all` over the
 * warp's threads. */
void emu_meet(uint32_t members, void (*all)(struct emu_thread *warp, uint32_t members), int line);
/* The same of the 128 threads of a warp group. */
void emu_meet_group(void (*all)(struct emu_thread *group), int line);

#endif
