/* plan_read_internal.h: what the readers of plans and models share. */
#ifndef COLOSSUS_PLAN_READ_INTERNAL_H
#define COLOSSUS_PLAN_READ_INTERNAL_H

#include "plan/plan.h"

extern const struct section plan_model_section, plan_run_section, plan_request_section,
    plan_batch_section, plan_layout_section, plan_software_section;

/* What a model's file may say beside the model: a run file has a batch and tokens. */
struct plan_model_extra {
    struct plan_batch batch; /* 0: not said */
    double tokens;           /* 0: not said */
    const char *note;        /* an assumption that had to be made, or NULL */
};
int plan_read_model(const struct yaml_reader *r, const struct yaml_node *node,
                    struct model_config *out, struct plan_model_extra *extra);
/* Is this map a run file of `colossus train`, or its model section? */
bool plan_is_run_file(const struct yaml_node *root);
/* A whole run file: its model, batch and tokens. */
int plan_read_run_file(const struct yaml_reader *r, const struct yaml_node *root,
                       struct model_config *out, struct plan_model_extra *extra);

/* plan_load from memory; name is what errors call it and where names are looked from. A depth of
 * PRESET_MAX_DEPTH opens no further file. */
int plan_parse(const char *text, size_t size, const char *name, int depth, struct arena *a,
               struct plan_request *out, struct error *e);

/* What a change that forgets the plan's layout leaves of it: what options ask for (plan_override.c),
 * and the precision where every accelerator computes in it. */
struct plan_layout plan_layout_asked(const struct plan_request *r);

#endif
