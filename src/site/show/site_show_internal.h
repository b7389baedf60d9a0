/* site_show_internal.h: what pages of the twin share. */
#ifndef COLOSSUS_SITE_SHOW_INTERNAL_H
#define COLOSSUS_SITE_SHOW_INTERNAL_H

#include "site/site.h"

/* Whether a figure of 0 says nothing and is left out of a page for people. */
bool site_tell_quiet(const struct site_figure *f);
/* Mean of a figure over seeds, and the 10th and 90th percentile. */
struct range site_tell_range(const struct site_scenario *s, const struct site_seeds *x,
                             const struct site_figure *f);

#endif
