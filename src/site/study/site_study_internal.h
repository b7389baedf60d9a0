/* site_study_internal.h: what the parts that look at runs afterwards share. */
#ifndef COLOSSUS_SITE_STUDY_INTERNAL_H
#define COLOSSUS_SITE_STUDY_INTERNAL_H

#include "site/site.h"

/* Index of the line with this number; log->n where there is none. */
size_t site_log_find(const struct site_log *log, int64_t id);

#endif
