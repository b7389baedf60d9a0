/* site_html_asset.c: markup and script of the page that site_html.c writes: the files web/site.html and
 * web/site.js, assembled in as they are. */
#include "site/page/site_page_internal.h"

const char site_html_hash[] = "'sha256-rXfz23XTXB2spWMCBT5mMXoVi42wEZJpe8n+Otqmvcg='";

EMBED_FILE(site_html_file, "web/site.html");
EMBED_FILE(site_js_file, "web/site.js");

const char *const site_html_body = site_html_file;
const char *const site_html_js = site_js_file;
