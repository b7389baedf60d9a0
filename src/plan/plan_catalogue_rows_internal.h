/* plan_catalogue_rows_internal.h: how a row of the key tables is written. */
#ifndef COLOSSUS_PLAN_CATALOGUE_ROWS_INTERNAL_H
#define COLOSSUS_PLAN_CATALOGUE_ROWS_INTERNAL_H

#include "plan/plan_catalogue_internal.h"

#include <math.h>
#include <stddef.h>

/* clang-format off: a table is read by its columns */
#define FIGURE(T, k, m, u, def, ex, h)                                                   \
    {                                                                                    \
        .key = k, .type = PLAN_FIELD_FIGURE, .offset = offsetof(struct T, m), .unit = u, \
        .fallback = def, .example = ex, .help = h                                        \
    }
#define FIGURE_IN(T, k, m, u, def, lo, hi, ex, h)                                        \
    {                                                                                    \
        .key = k, .type = PLAN_FIELD_FIGURE, .offset = offsetof(struct T, m), .unit = u, \
        .fallback = def, .min = lo, .max = hi, .example = ex, .help = h                  \
    }
#define TEXT(T, k, m, ex, h)                                                                \
    {                                                                                       \
        .key = k, .type = PLAN_FIELD_TEXT, .offset = offsetof(struct T, m), .fallback = "", \
        .example = ex, .help = h                                                            \
    }
#define INT(T, k, m, def, lo, hi, ex, h)                                                    \
    {                                                                                       \
        .key = k, .type = PLAN_FIELD_INT, .offset = offsetof(struct T, m), .fallback = def, \
        .min = lo, .max = hi, .example = ex, .help = h                                      \
    }
#define INT32(T, k, m, lo, hi, ex, h)                                                        \
    {                                                                                        \
        .key = k, .type = PLAN_FIELD_INT32, .offset = offsetof(struct T, m), .fallback = "", \
        .min = lo, .max = hi, .example = ex, .help = h                                       \
    }
#define BOOL(T, k, m, def, h)                                                                \
    {                                                                                        \
        .key = k, .type = PLAN_FIELD_BOOL, .offset = offsetof(struct T, m), .fallback = def, \
        .example = "true", .help = h                                                         \
    }
#define ENUM(T, k, m, def, list, ex, h)                                                      \
    {                                                                                        \
        .key = k, .type = PLAN_FIELD_ENUM, .offset = offsetof(struct T, m), .fallback = def, \
        .choices = list, .example = ex, .help = h                                            \
    }
#define CUSTOM(k, def, ex, h, fn)                                                                  \
    {                                                                                              \
        .key = k, .type = PLAN_FIELD_CUSTOM, .fallback = def, .example = ex, .help = h, .read = fn \
    }
#define SECTION(what_, folder_, help_, rows)                             \
    {                                                                    \
        .what = what_, .folder = folder_, .help = help_, .fields = rows, \
        .n_fields = ARRAY_LEN(rows)                                      \
    }

#define LIKE(ex) CUSTOM("like", "", ex, "begin with this one; the other keys change it", NULL)
/* clang-format on */

#endif
