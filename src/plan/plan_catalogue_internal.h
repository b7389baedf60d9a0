/* plan_catalogue_internal.h: how description files are read, shared by the files plan_catalogue*.c.
 *
 * One table per kind of file (plan_catalogue_rows.c) names every key with its type, unit, default
 * and a valid example; it drives the reader, its errors and docs/reference/plan-files.md. It is not
 * base's struct option because a figure here is more than a number: it has a unit that is checked,
 * a range, a grade and a source. */
#ifndef COLOSSUS_PLAN_CATALOGUE_INTERNAL_H
#define COLOSSUS_PLAN_CATALOGUE_INTERNAL_H

#include "plan/plan.h"

/* ------------------------------------------------------------------ units (plan_catalogue_unit.c) */

enum plan_dimension {
    PLAN_UNIT_NONE,
    PLAN_UNIT_SHARE, /* 0.05 or 5 % */
    PLAN_UNIT_BYTES,
    PLAN_UNIT_BYTES_PER_S, /* also bits: Gb/s */
    PLAN_UNIT_FLOPS,
    PLAN_UNIT_W,
    PLAN_UNIT_WH,
    PLAN_UNIT_W_PER_S,
    PLAN_UNIT_USD,
    PLAN_UNIT_USD_PER_KWH,
    PLAN_UNIT_USD_PER_W,
    PLAN_UNIT_G_PER_KWH,
    PLAN_UNIT_L_PER_KWH,
    PLAN_UNIT_T_PER_YEAR,
    PLAN_UNIT_L_PER_DAY,
    PLAN_UNIT_HZ,
    PLAN_UNIT_DAYS,
    PLAN_UNIT_YEARS,
    PLAN_UNIT_CELSIUS,
    PLAN_UNIT_TOKENS,
    PLAN_UNIT_FAILURES, /* per 1,000 days of eight accelerators */
    PLAN_N_UNITS
};
enum plan_number { PLAN_NUMBER_OK, PLAN_NUMBER_BAD, PLAN_NUMBER_BAD_UNIT };
/* "3.35 TB/s", "80e9", "15T", "5 %": the value in the dimension's first unit. *unit is what stands
 * behind the digits, for the error. */
enum plan_number plan_number_parse(const char *text, enum plan_dimension d, double *value,
                                   const char **unit);
/* "B, kB, MB ..." into buf, which is returned; the first alone is what a bare number means. */
char *plan_unit_list(enum plan_dimension d, char *buf, size_t size);
const char *plan_unit_name(enum plan_dimension d); /* "" where a number has none */

/* ------------------------------------------------------------------ fields (plan_catalogue_bind.c) */

/* A file (or a part of one) being read: where errors point, where strings live. */
struct plan_reader {
    const char *path; /* as errors name it, and where names in it are looked for; "" for none */
    struct arena *arena;
    struct error *e; /* never NULL */
    int depth;       /* of files that name files */
};

enum plan_field_type {
    PLAN_FIELD_TEXT,   /* const char * */
    PLAN_FIELD_INT,    /* int64_t */
    PLAN_FIELD_INT32,  /* int32_t */
    PLAN_FIELD_REAL,   /* double */
    PLAN_FIELD_BOOL,   /* bool */
    PLAN_FIELD_ENUM,   /* int or int32_t: index into choices */
    PLAN_FIELD_FIGURE, /* struct plan_figure */
    PLAN_FIELD_CUSTOM  /* read(), or looked at before the rest where that is NULL */
};

struct plan_field {
    const char *key; /* "peak_flops.bf16": the key bf16 below peak_flops */
    enum plan_field_type type;
    size_t offset;
    enum plan_dimension unit;
    const char *fallback; /* as a file would say it; NULL: must be given; "": nothing, 0 */
    double min, max;      /* of a number; both 0: not negative */
    const char *const *choices;
    const char *example; /* a valid value */
    const char *help;
    int (*read)(const struct plan_reader *r, const struct plan_field *f,
                const struct yaml_node *node, void *target);
};
struct plan_section {
    const char *what;   /* "accelerator" */
    const char *folder; /* below presets/; NULL: only ever part of another file */
    const char *help;
    const struct plan_field *fields;
    size_t n_fields;
};
extern const struct plan_section plan_accelerator_section, plan_cluster_section, plan_pool_section,
    plan_site_section, plan_source_section, plan_model_section, plan_run_section,
    plan_request_section, plan_batch_section, plan_layout_section, plan_software_section;

/* ERROR_CONFIG "path:line:column: ...". */
int plan_wrong(const struct plan_reader *r, const struct yaml_node *at, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* The same, with "for example key: example" as the hint. */
int plan_wrong_field(const struct plan_reader *r, const struct yaml_node *at,
                     const struct plan_field *f, const char *fmt, ...) PRINTF_LIKE(4, 5);
const struct plan_field *plan_field_find(const struct plan_section *s, const char *key);
/* The value of a dotted key, or the map where it is not given: where an error about it points. */
const struct yaml_node *plan_field_node(const struct yaml_node *map, const char *key);
bool plan_is_null(const struct yaml_node *node);

/* Gives every field of target its default: a figure without one stays "not given" (grade 0), so
 * that what computes with it takes its own; one with a default is graded A, source "default". */
void plan_section_defaults(const struct plan_section *s, void *target, struct arena *a);
/* Fills target from a map. Unknown keys, wrong types and units are errors; a field that is neither
 * given nor has a default is one unless `based` says that target was filled before. */
int plan_section_bind(const struct plan_reader *r, const struct plan_section *s,
                      const struct yaml_node *map, bool based, void *target);
int plan_figure_bind(const struct plan_reader *r, const struct plan_field *f,
                     const struct yaml_node *node, struct plan_figure *out);

/* ------------------------------------------------------------------ files (plan_catalogue_find.c) */

#define PLAN_MAX_DEPTH 8 /* of files that name files */

/* Reads presets/<folder>/<name>.yaml or the file that name is the path of. *child names the file and
 * lives in the arena's memory; at (may be NULL) is where the name stands. */
int plan_open_named(const struct plan_reader *r, const char *what, const char *folder,
                    const char *name, const struct yaml_node *at, struct plan_reader *child,
                    struct yaml_node **root);
/* yaml_load, with hints of what plans are made of. */
int plan_read_yaml(const char *path, struct arena *a, struct yaml_node **root, struct error *e);
/* Would a name that is no path be found? */
bool plan_has_named(const struct plan_reader *r, const char *folder, const char *name);
/* plan_open_named for a scalar of a file. */
int plan_open_node(const struct plan_reader *r, const struct plan_section *s,
                   const struct yaml_node *node, struct plan_reader *child,
                   struct yaml_node **root);
/* `like: NAME` of a map, or NULL. */
int plan_find_like(const struct plan_reader *r, const struct plan_section *s,
                   const struct yaml_node *map, const struct yaml_node **like);
/* The name of what `map` makes of another description: its file's, or within a file the other's
 * and ", changed". */
const char *plan_name_changed(const struct plan_reader *r, const struct yaml_node *map,
                              const char *name);
/* A reader for a name that no file mentions (from may be NULL); *local is used where e is NULL. */
struct plan_reader plan_reader_from(const char *from, struct arena *a, struct error *e,
                                    struct error *local);
/* "h100" of "presets/accelerators/h100.yaml". */
const char *plan_name_of_path(struct arena *a, const char *path);

/* ------------------------------------------------------------------ readers */

/* Each takes a name, a path, or a map that may begin with `like: NAME`. */
int plan_read_accelerator(const struct plan_reader *r, const struct yaml_node *node,
                          struct plan_accelerator *out);
int plan_read_cluster(const struct plan_reader *r, const struct yaml_node *node,
                      struct plan_cluster *out);
int plan_read_site(const struct plan_reader *r, const struct yaml_node *node,
                   struct plan_site *out);

/* What a model's file may say beside the model: a run file has a batch and tokens. */
struct plan_model_extra {
    struct plan_batch batch; /* 0: not said */
    double tokens;           /* 0: not said */
    const char *note;        /* an assumption that had to be made, or NULL */
};
int plan_read_model(const struct plan_reader *r, const struct yaml_node *node,
                    struct plan_model *out, struct plan_model_extra *extra);
/* Is this map a run file of `colossus train`, or its model section? */
bool plan_is_run_file(const struct yaml_node *root);
/* A whole run file: its model, batch and tokens. */
int plan_read_run_file(const struct plan_reader *r, const struct yaml_node *root,
                       struct plan_model *out, struct plan_model_extra *extra);

/* Rows' own readers, named in plan_catalogue_rows.c. */
int plan_read_pools(const struct plan_reader *r, const struct plan_field *f,
                    const struct yaml_node *node, void *target);
int plan_read_sources(const struct plan_reader *r, const struct plan_field *f,
                      const struct yaml_node *node, void *target);
int plan_read_climate(const struct plan_reader *r, const struct plan_field *f,
                      const struct yaml_node *node, void *target);

/* plan_load from memory; name is what errors call it and where names are looked from. A depth of
 * PLAN_MAX_DEPTH opens no further file. */
int plan_parse(const char *text, size_t size, const char *name, int depth, struct arena *a,
               struct plan_request *out, struct error *e);

#endif
