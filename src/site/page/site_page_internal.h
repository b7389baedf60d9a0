/* site_page_internal.h: the parts of the page. */
#ifndef COLOSSUS_SITE_PAGE_INTERNAL_H
#define COLOSSUS_SITE_PAGE_INTERNAL_H

#include "http/http.h"
#include "site/site.h"

extern const char site_html_hash[]; /* of the script, for http_page_policy */
extern const char *const site_html_body, *const site_html_js;

#endif
