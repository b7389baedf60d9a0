/* base_svg.c: what every picture is drawn with: text, lines, rectangles, and one set of colours.
 *
 * Colours are classes, so that a picture takes those of the page it stands in and turns dark where
 * the reader's machine is set so; each has a plain colour in front for viewers without variables.
 * They are Okabe and Ito's (2008), told apart by people with any colour vision, a bit darker on
 * light ground and lighter on dark; yellow is left out, since it is lost on white. Nothing is loaded
 * from anywhere: a file opens everywhere and prints. */
#include "base/base.h"

#include <string.h>

/* Ink, faint ink, grid, ground, panel, warning, and the colours of series, light and dark. */
static const struct {
    const char *name, *light, *dark;
} colours[] = {
    {"ink", "#1c1e21", "#e6e8eb"}, {"dim", "#626a73", "#9aa3ad"},   {"line", "#e3e6ea", "#33383f"},
    {"paper", "#fff", "#15181c"},  {"panel", "#f6f7f9", "#1d2126"}, {"bad", "#c0392b", "#ff6b5b"},
    {"c0", "#0072b2", "#4ea8de"},  {"c1", "#d55e00", "#ff8c42"},    {"c2", "#009e73", "#2ec4a0"},
    {"c3", "#cc79a7", "#e29ac0"},  {"c4", "#e0a000", "#f0c040"},    {"c5", "#56b4e9", "#8ecdf5"},
    {"c6", "#8c6bb1", "#b79ae0"},  {"c7", "#882255", "#d0679a"},    {"c8", "#9aa3ad", "#6c757f"},
};
enum { FIRST_OF_SERIES = 6 };
_Static_assert(ARRAY_LEN(colours) == FIRST_OF_SERIES + SVG_COLOURS, "a colour for each series");

/* The text of <style> for pictures: of a page that holds some, or of a file. */
void svg_style(struct str *out)
{
    static const struct {
        const char *selector, *property, *colour, *more;
    } rules[] = {{"svg text", "fill", "ink", ""},
                 {"svg .dim", "fill", "dim", ""},
                 {"svg .paper", "fill", "paper", ""},
                 {"svg .grid", "stroke", "line", ""},
                 {"svg .axis", "stroke", "dim", ""},
                 {"svg .mean", "stroke", "dim", "stroke-dasharray:3 3"},
                 {"svg .limit", "stroke", "bad", "stroke-width:2;stroke-dasharray:5 3"},
                 {"svg .dot", "stroke", "paper", ""}};
    str_puts(out, ":root{");
    for (size_t i = 0; i < ARRAY_LEN(colours); i++)
        str_printf(out, "--%s:%s;", colours[i].name, colours[i].light);
    str_puts(out, "}@media(prefers-color-scheme:dark){:root{");
    for (size_t i = 0; i < ARRAY_LEN(colours); i++)
        str_printf(out, "--%s:%s;", colours[i].name, colours[i].dark);
    str_puts(out, "}}svg{font:13px system-ui,'DejaVu Sans',Helvetica,Arial,sans-serif}"
                  "svg .title{font-size:15px;font-weight:600}svg .half{opacity:.5}"
                  "svg .line{fill:none;stroke-width:2;stroke-linejoin:round;"
                  "stroke-linecap:round}svg .thin{stroke-width:1.2}");
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        for (size_t k = 0; k < ARRAY_LEN(colours); k++)
            if (strcmp(rules[i].colour, colours[k].name) == 0)
                str_printf(out, "%s{%s:%s;%s:var(--%s);%s}", rules[i].selector, rules[i].property,
                           colours[k].light, rules[i].property, colours[k].name, rules[i].more);
    for (int i = 0; i < SVG_COLOURS; i++) {
        const char *light = colours[FIRST_OF_SERIES + i].light;
        str_printf(out, "svg .c%d{fill:%s;fill:var(--c%d)}svg .l%d{stroke:%s;stroke:var(--c%d)}", i,
                   light, i, i, light, i);
    }
}

void svg_escape(struct str *out, const char *text)
{
    for (; text && *text; text++) {
        unsigned char c = (unsigned char)*text;
        switch (c) {
        case '<': str_puts(out, "&lt;"); break;
        case '>': str_puts(out, "&gt;"); break;
        case '&': str_puts(out, "&amp;"); break;
        case '"': str_puts(out, "&quot;"); break;
        default: /* XML forbids control characters, even as entities */
            if (c >= 0x20 && c != 0x7F) str_append_char(out, *text);
        }
    }
}

void svg_open(struct str *out, double width, double height, const char *label)
{
    str_printf(out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", width, height);
    svg_escape(out, label);
    str_puts(out, "\">\n");
}

void svg_text(struct str *out, double x, double y, const char *anchor, const char *class,
              const char *text)
{
    str_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor,
               class);
    svg_escape(out, text);
    str_puts(out, "</text>\n");
}

void svg_line(struct str *out, double x1, double y1, double x2, double y2, const char *class)
{
    str_printf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1,
               y1, x2, y2, class);
}

void svg_rect(struct str *out, double x, double y, double width, double height, const char *class)
{
    str_printf(out, "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" class=\"%s\"/>\n",
               x, y, width, height, class);
}

int svg_write(const char *path, const struct str *element, double width, double height,
              struct error *e)
{
    struct str file = {0};
    str_printf(&file,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
               "viewBox=\"0 0 %.0f %.0f\"><style>",
               width, height, width, height);
    svg_style(&file);
    str_puts(&file, "</style>\n");
    svg_rect(&file, 0, 0, width, height, "paper");
    str_append(&file, element->data, element->len);
    str_puts(&file, "</svg>\n");
    int rc = file_write(path, file.data, file.len, e);
    str_fini(&file);
    return rc;
}
