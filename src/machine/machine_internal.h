/* machine_internal.h: what the files of src/machine/ share. */
#ifndef COLOSSUS_MACHINE_INTERNAL_H
#define COLOSSUS_MACHINE_INTERNAL_H

#include "machine/machine.h"

/* Shares of the cap where an accelerator states no watts (machine_power.c). */
extern const struct range machine_compute_of_cap, machine_comm_of_cap, machine_idle_of_cap;
extern const struct range machine_other_of_cap; /* CPUs, NICs and fans of the server */

/* Rows' own readers, named in machine_rows.c. */
int machine_read_pools(const struct yaml_reader *r, const struct option *f,
                       const struct yaml_node *node, void *target);
int machine_read_operations(const struct yaml_reader *r, const struct option *f,
                            const struct yaml_node *node, void *target);
int machine_read_sources(const struct yaml_reader *r, const struct option *f,
                         const struct yaml_node *node, void *target);
int machine_read_climate(const struct yaml_reader *r, const struct option *f,
                         const struct yaml_node *node, void *target);

#endif
