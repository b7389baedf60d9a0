/* site_page_internal.h: the parts of the page. */
#ifndef COLOSSUS_SITE_PAGE_INTERNAL_H
#define COLOSSUS_SITE_PAGE_INTERNAL_H

#include "site/site.h"

extern const char site_html_policy[];
extern const char *const site_html_css, *const site_html_body, *const site_html_js;

#endif
