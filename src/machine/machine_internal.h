/* machine_internal.h: what the files of src/machine/ share. */
#ifndef COLOSSUS_MACHINE_INTERNAL_H
#define COLOSSUS_MACHINE_INTERNAL_H

#include "machine/machine.h"

/* Rows' own readers, named in machine_rows.c. */
int machine_read_pools(const struct yaml_reader *r, const struct option *f,
                       const struct yaml_node *node, void *target);
int machine_read_sources(const struct yaml_reader *r, const struct option *f,
                         const struct yaml_node *node, void *target);
int machine_read_climate(const struct yaml_reader *r, const struct option *f,
                         const struct yaml_node *node, void *target);

#endif
