/* plan_keys.c: the reference page of description files, printed from the tables that read
 * them, so that it cannot fall behind. docs/reference/plan-files.md is this output; a unit test
 * compares. */
#include "plan/read/plan_read_internal.h"

void plan_print_keys(FILE *out)
{
    static const struct section *const sections[] = {
        &plan_request_section,        &plan_batch_section,
        &plan_layout_section,         &plan_software_section,
        &machine_cluster_section,     &machine_pool_section,
        &machine_accelerator_section, &machine_site_section,
        &machine_source_section,      &model_section};
    fputs("# Keys of plan files\n\n"
          "Made by `colossus plan --keys` from the tables that read the files. How plans, models,\n"
          "clusters and sites are written, and how they name each other: `docs/plan.md`, section\n"
          "\"A plan of your own\".\n",
          out);
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        const struct section *s = sections[i];
        fprintf(out, "\n## %s%s", s->folder ? "Files of " : "Keys of ", s->help);
        if (s->folder) fprintf(out, " (`presets/%s/`)", s->folder);
        fputs("\n\n", out);
        options_print_markdown(s->rows, s->n_rows, out);
    }
}
