/* plan_validate_source.c: which software made a published row, and the year of its release.
 *
 * The same hardware gained 1.5 to 3 times between releases, so the date of the software is an input
 * of the model. It is the date of the stack that ran, not of the page that reports it: NVIDIA's
 * pages carry a release YY.MM, MLPerf rounds have a date, papers the number of their preprint; the
 * table below names the exceptions and says why. A date YYYY-MM in a source goes before all. */
#include "plan/validate/plan_validate_internal.h"

#include <ctype.h>
#include <string.h>

struct known_source {
    const char *name, *table; /* substrings */
    double year;
    int stack;
    bool plain; /* Megatron as it comes, without what NVIDIA's recipes turn on */
};

static const struct known_source known[] = {
    /* software of the paper's runs, a year before fused attention */
    {"SC21", NULL, 2021.3, PLAN_STACK_MEGATRON},
    {"2104.04473", NULL, 2021.3, PLAN_STACK_MEGATRON},
    {"Jan 2021", NULL, 2021.0, PLAN_STACK_MEGATRON},
    {"vTrain", NULL, 2022.0, PLAN_STACK_MEGATRON}, /* Megatron-DeepSpeed with unfused attention */
    {"MegaScale arXiv", "Megatron-LM", 2023.1, PLAN_STACK_MEGATRON}, /* its baseline */
    {"MegaScale arXiv", NULL, 2024.0, PLAN_STACK_MEGATRON},
    {"MegaScale-MoE", NULL, 2025.0, PLAN_STACK_MEGATRON},
    {"Mcore r0.8", NULL, 2024.5, PLAN_STACK_MEGATRON},
    {"Mcore v0.8", NULL, 2024.5, PLAN_STACK_MEGATRON},
    {"Mcore v0.9", NULL, 2024.8, PLAN_STACK_MEGATRON},
    {"NeMo long-sequence", NULL, 2024.5, PLAN_STACK_MEGATRON},
    {"MosaicML", NULL, 2023.8, PLAN_STACK_FSDP},
    {"llm-foundry", NULL, 2023.8, PLAN_STACK_FSDP},
    {"torchtitan", NULL, 2024.8, PLAN_STACK_FSDP},
    {"AutoModel", NULL, 2025.8, PLAN_STACK_FSDP},
    {"MaxText", NULL, 2024.5, PLAN_STACK_OTHER},
    {"PaLM", NULL, 2022.0, PLAN_STACK_OTHER},
    {"Llama 3 arXiv", NULL, 2024.3, PLAN_STACK_FSDP}, /* an own stack on PyTorch */
    {"DeepSeek-V3 arXiv", NULL, 2024.9, PLAN_STACK_DUALPIPE},
    {"MLPerf", "v3.0", 2023.4, PLAN_STACK_MEGATRON},
    {"MLPerf", "v3.1", 2023.8, PLAN_STACK_MEGATRON},
    {"MLPerf", "v4.0", 2024.4, PLAN_STACK_MEGATRON},
    {"MLPerf", "v4.1", 2024.8, PLAN_STACK_MEGATRON},
    {"MLPerf", "v5.0", 2025.4, PLAN_STACK_MEGATRON},
    {"MLPerf", "v5.1", 2025.8, PLAN_STACK_MEGATRON},
    {"SimuMax", NULL, 2025.7, PLAN_STACK_MEGATRON, true},
    {"ModelZoo", NULL, 2025.5, PLAN_STACK_MEGATRON},
};

/* "25.04" or "2405" as a decimal year, or 0. */
static double year_of(const char *digits, bool dotted)
{
    int yy = (digits[0] - '0') * 10 + digits[1] - '0';
    const char *month = digits + (dotted ? 3 : 2);
    int mm = (month[0] - '0') * 10 + month[1] - '0';
    return yy >= 18 && yy <= 40 && mm >= 1 && mm <= 12 ? 2000 + yy + (mm - 0.5) / 12 : 0;
}

static size_t digits_at(const char *s)
{
    return strspn(s, "0123456789");
}

double plan_year_dated(const char *text)
{
    for (const char *p = text; *p; p++) {
        if (p > text && (isdigit((unsigned char)p[-1]) || p[-1] == '-')) continue;
        if (digits_at(p) != 4 || p[4] != '-' || digits_at(p + 5) != 2) continue;
        double year = strncmp(p, "20", 2) == 0 ? year_of(p + 2, true) : 0;
        if (year > 0) return year;
    }
    return 0;
}

/* A release YY.MM ("perf 26.04.01", "v25.08") or a preprint YYMM.NNNNN within the text, or 0. */
static double year_in(const char *text)
{
    for (const char *p = text; *p; p++) {
        if (p > text && (isdigit((unsigned char)p[-1]) || p[-1] == '.')) continue;
        size_t n = digits_at(p), behind = p[n] == '.' ? digits_at(p + n + 1) : 0;
        bool preprint = n == 4 && behind >= 5, release = n == 2 && behind >= 2;
        double year = preprint || release ? year_of(p, release) : 0;
        if (year > 0) return year;
    }
    return 0;
}

static bool is_jax(const char *table, const char *dist_opt)
{
    return strstr(table, "maxtext") != NULL || strstr(table, "paxml") != NULL ||
           strstr(dist_opt, "FSDP + DP") != NULL || strstr(dist_opt, "ici") != NULL;
}

bool plan_software_of_source(const char *source, const char *table, const char *dist_opt,
                             struct plan_software *out)
{
    out->stack = PLAN_STACK_MEGATRON;
    out->generation = 0;
    const double dated = plan_year_dated(source);
    for (size_t i = 0; i < ARRAY_LEN(known) && out->generation == 0; i++) {
        const struct known_source *k = &known[i];
        bool round = strcmp(k->name, "MLPerf") == 0;
        if (strcasestr(source, k->name) == NULL) continue;
        if (k->table != NULL && strcasestr(round ? source : table, k->table) == NULL) continue;
        out->stack = k->stack;
        out->generation = k->year;
        if (k->plain) {
            out->tp_overlap = PLAN_TP_NONE;
            out->dispatcher = PLAN_DISPATCH_ALL_TO_ALL;
            out->a2a_overlap = PLAN_A2A_NONE;
            out->graphs = PLAN_GRAPHS_NONE;
        }
    }
    if (dated > 0) out->generation = dated; /* of whatever stack */
    if (out->generation == 0) out->generation = year_in(source);
    if (out->generation > plan_software_today() + 0.5) out->generation = 0; /* no date, then */
    bool known_date = out->generation > 0;
    if (!known_date) out->generation = plan_software_today();
    if (is_jax(table, dist_opt))
        out->stack = PLAN_STACK_OTHER;
    else if (strncmp(dist_opt, "FSDP FULL", 9) == 0 || strncmp(dist_opt, "FSDP SHARD", 10) == 0 ||
             strncmp(dist_opt, "FSDP2", 5) == 0)
        out->stack = PLAN_STACK_FSDP;
    return known_date;
}

static void figure_is(struct figure *f, double x, const char *source)
{
    f->low = f->mid = f->high = x;
    f->source = source;
}

const char *plan_machine_of_source(const char *source, struct machine_accelerator *a)
{
    if (strncmp(source, "vTrain", 6) == 0) {
        figure_is(&a->nic_bytes_per_s, 12.5e9, "arXiv:2312.12391, section 4");
        return "vTrain's cluster: four adapters of 200 Gb/s a node";
    }
    /* Meta's own: 96 GB of HBM2e, and 500 W, for which the clock is lowered */
    if (strncmp(source, "torchtitan", 10) != 0 || strcmp(a->name, "h100") != 0) return NULL;
    static const char *const from = "torchtitan benchmarks/llama3_h100_202412_torchtitan.md";
    struct machine_phase_power p;
    machine_phase_power(a, 500.0 / figure_mid(&a->power_cap_w, 700.0), &p);
    for (int i = 0; i < MACHINE_N_PRECISIONS; i++)
        figure_is(&a->ceiling_flops[i], a->ceiling_flops[i].mid * p.clock, from);
    figure_is(&a->hbm_bytes, 96e9, from);
    figure_is(&a->hbm_bytes_per_s, 2.4e12, from);
    figure_is(&a->power_cap_w, 500.0, from);
    return "torchtitan's H100: 500 W, 96 GB at 2.4 TB/s";
}
