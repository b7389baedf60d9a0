/* site_keys.c: the reference page of scenarios, printed from the tables that read them, so that it
 * cannot fall behind. docs/reference/scenario-files.md is this output; a test compares. */
#include "site/read/site_read_internal.h"

void site_print_keys(FILE *out)
{
    static const struct section *const sections[] = {
        &site_scenario_section, &site_block_section, &site_job_section,  &site_gas_section,
        &site_load_section,     &site_cause_section, &site_event_section};
    fputs("# Keys of scenarios\n\n"
          "Made by `colossus site --keys` from the tables that read the files. What the twin does\n"
          "with them: `docs/site.md`. Keys of the clusters and sites that a scenario names:\n"
          "`docs/reference/plan-files.md`. A dotted name is a key of a section: `repair: {crews: "
          "45}`.\n"
          "Times carry a unit: ms, s, min, h or d; a bare number is seconds.\n",
          out);
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        const struct section *s = sections[i];
        fprintf(out, "\n## %s%s", s->folder ? "Files of " : "Keys of ", s->help);
        if (s->folder) fprintf(out, " (`presets/%s/`)", s->folder);
        fputs("\n\n", out);
        options_print_markdown(s->rows, s->n_rows, out);
    }
}
