/* plan_keys.c: the reference page of description files, printed from the tables that read
 * them, so that it cannot fall behind. docs/reference/plan-files.md is this output; a unit test
 * compares. */
#include "plan/read/plan_read_internal.h"

static const char intro[] =
    "# Keys of plan files\n"
    "\n"
    "Made by `colossus plan --keys` from the tables that read the files. A plan names a model, a\n"
    "cluster and a site, or writes them out in place:\n"
    "\n"
    "```yaml\n"
    "model: llama-3-70b                # presets/models/llama-3-70b.yaml\n"
    "cluster: 1024 x h100              # or a preset, a file, or keys of a cluster\n"
    "site:                             # a preset with changes\n"
    "  like: us-average\n"
    "  design_pue: 1.15\n"
    "batch: {global_batch: 512, seq_len: 8192}\n"
    "tokens: 2T                        # left out: compute-optimal\n"
    "layout: {tp: 8, precision: bf16}  # what is left out is searched\n"
    "```\n"
    "\n"
    "**Names.** A name with a '/' or `.yaml` is a path, from the file that names it, then from "
    "the\n"
    "working folder. Any other is `FOLDER/NAME.yaml` in the presets around the file that names it, "
    "in\n"
    "`$COLOSSUS_PRESETS`, in `presets/`, beside the program and where `make install` put them.\n"
    "`like: NAME` begins with another description and changes the keys that follow.\n"
    "\n"
    "**Figures.** A number may carry its unit (`80 GB`, `400 Gb/s`, `0.08 lb/MWh`, `5 %`), a "
    "prefix\n"
    "alone (`15T`), or neither, and is then in the first unit of its row. k, M, G, T are powers "
    "of\n"
    "1000, Ki, Mi, Gi of 1024; `b` is a bit and `B` a byte. A figure with its range and origin is\n"
    "`{mid: 700 W, low: 650 W, high: 700 W, grade: S, source: \"data sheet\"}`. Grades: P primary "
    "text\n"
    "read, S secondary text, R compilation that cites a primary, D derived, M from memory, A\n"
    "assumption; a bare number is an assumption of whoever wrote it.\n"
    "\n"
    "**Run files.** A run file of `colossus train` is a model (`model: my-run.yaml`), with its "
    "batch\n"
    "and tokens; by itself it is a plan for the preset `laptop`. The keys of a run file that a "
    "plan\n"
    "reads are those of its sections `model` and `batch`, and `train.tokens`.\n";

void plan_print_keys(FILE *out)
{
    static const struct section *const sections[] = {
        &plan_request_section,        &plan_batch_section,
        &plan_layout_section,         &plan_software_section,
        &machine_cluster_section,     &machine_pool_section,
        &machine_accelerator_section, &machine_site_section,
        &machine_source_section,      &model_section};
    fputs(intro, out);
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        const struct section *s = sections[i];
        fprintf(out, "\n## %s%s", s->folder ? "Files of " : "Keys of ", s->help);
        if (s->folder) fprintf(out, " (`presets/%s/`)", s->folder);
        fputs("\n\n", out);
        options_print_markdown(s->rows, s->n_rows, out);
    }
}
