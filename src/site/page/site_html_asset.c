/* site_html_asset.c: markup and script of the page that site_html.c writes: the files web/site.html and
 * web/site.js, assembled in as they are. */
#include "site/page/site_page_internal.h"

const char site_html_hash[] = "'sha256-NHJeyLdgEAfSdJ8abzAPRrM8P+KIiPsmZg70ESdwdzw='";

/* A file, and a NUL behind it. */
#define EMBED(id, name)                                                                          \
    __asm__(".pushsection .rodata\n" #id ":\n.incbin \"web/" name "\"\n.byte 0\n.popsection\n"); \
    extern const char id[]
EMBED(site_html_file, "site.html");
EMBED(site_js_file, "site.js");

const char *const site_html_body = site_html_file;
const char *const site_html_js = site_js_file;
