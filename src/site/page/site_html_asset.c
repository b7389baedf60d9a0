/* site_html_asset.c: style, markup and script of the page that site_html.c writes: the files
 * web/site.css, web/site.html and web/site.js, assembled in as they are. The page loads nothing from
 * elsewhere, and its own policy lets only this style and this script run: both by their hash, which
 * changes with the file, and which a test computes anew (cli/site_study). Texts of scenarios are set as
 * text, never as markup. */
#include "site/page/site_page_internal.h"

const char site_html_policy[] = "default-src 'none'; base-uri 'none'; form-action 'none'; "
                                "connect-src 'self'; "
                                "style-src 'sha256-RDJHcVCGpyAdwJX++Lr9z7HowBvKrwe95MFIHImSYA4='; "
                                "script-src 'sha256-NZdOEQdpYJGRCy0idvDFzXbC16f+EzycpZXYWPljGz8='";

/* A file, and a NUL behind it. */
#define EMBED(id, name)                                                                          \
    __asm__(".pushsection .rodata\n" #id ":\n.incbin \"web/" name "\"\n.byte 0\n.popsection\n"); \
    extern const char id[]
EMBED(site_css_file, "site.css");
EMBED(site_html_file, "site.html");
EMBED(site_js_file, "site.js");

const char *const site_html_css = site_css_file;
const char *const site_html_body = site_html_file;
const char *const site_html_js = site_js_file;
