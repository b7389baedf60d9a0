/* site_page_internal.h: the parts of the page. */
#ifndef COLOSSUS_SITE_PAGE_INTERNAL_H
#define COLOSSUS_SITE_PAGE_INTERNAL_H

#include "site/site.h"

extern const char site_html_policy[], site_html_css[], site_html_body[], site_html_js[];

#endif
