/* plan_software.c: which releases of training software the model of a step knows. */
#include "plan/step/plan_step_internal.h"

#include <math.h>
#include <string.h>

const struct plan_module_name plan_module_names[] = {{"core_attn", PLAN_AGAIN_CORE},
                                                     {"moe_act", PLAN_AGAIN_ACT},
                                                     {"layernorm", PLAN_AGAIN_NORM},
                                                     {"mla_up_proj", PLAN_AGAIN_UP},
                                                     {"mlp", PLAN_AGAIN_MLP},
                                                     {"moe", PLAN_AGAIN_MOE},
                                                     {"shared_experts", PLAN_AGAIN_SHARED},
                                                     {"norm", PLAN_AGAIN_NORM},
                                                     {"act", PLAN_AGAIN_ACT},
                                                     {"RMSNorm", PLAN_AGAIN_NORM},
                                                     {"MLA up-proj", PLAN_AGAIN_UP},
                                                     {NULL, 0}};

static bool is_word_end(char c)
{
    return !(c == '_' || c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
             (c >= 'A' && c <= 'Z'));
}

unsigned plan_modules_parse(const char *text)
{
    unsigned modules = 0;
    for (;;) {
        const struct plan_module_name *m = plan_module_names;
        text += strspn(text, " ");
        while (m->name && (strncasecmp(text, m->name, strlen(m->name)) != 0 ||
                           !is_word_end(text[strlen(m->name)])))
            m++;
        if (!m->name) return 0;
        modules |= m->module;
        text += strcspn(text, ",+");
        if (!*text) return modules;
        text++;
    }
}

double plan_software_today(void)
{
    return plan_constants_own.value[PLAN_K_TODAY];
}

int plan_generation_check(double year, struct error *e)
{
    double last = plan_software_today() + 2;
    if (year == 0 || (year >= 2018 && year <= last)) return 0;
    error_set_code(e, ERROR_CONFIG,
                   "generation %g is not from 2018 to %.0f: no software of it is known", year,
                   floor(last));
    return error_hint(e, "for example 2024.5; 0 is today's, %.1f", plan_software_today());
}
