/* plan_tokens.c: how many tokens a model of a size is worth, by published scaling laws.
 *
 * Three laws for dense models, as functions of parameters N:
 *   Chinchilla  D = 20 N (Hoffmann et al., arXiv:2203.15556, table 3: 20.5 to 22.4 per parameter)
 *   Llama 3     D ~ C^0.53 through the point the paper reads off, 402 B parameters and 16.55 T
 *               tokens at 3.8e25 FLOPs (arXiv:2407.21783, 3.2.1; the printed factor 0.29 misses
 *               that point by a third, so the point is taken)
 *   DeepSeek    M = 0.1715 C^0.5243, D = 5.8316 C^0.4757, with M the FLOPs of a token and C = M D
 *               (arXiv:2401.02954, 3.2)
 * The middle is the geometric mean of the first two. A mixture of experts lies between its active
 * and its total parameters: laws that vary the number of experts agree that more experts want more
 * tokens per active parameter (Ludziejewski et al., arXiv:2502.05172), not on one formula. The
 * middle is the laws at the geometric mean of active and total, a rule of thumb; the bounds are the
 * laws at either end. */
#include "plan/run/plan_run_internal.h"

#include <math.h>

#define CHINCHILLA_PER_PARAM 20.0
#define LLAMA3_PARAMS        402e9
#define LLAMA3_TOKENS        16.55e12
#define LLAMA3_EXPONENT      0.53
#define DEEPSEEK_M           0.1715
#define DEEPSEEK_M_EXPONENT  0.5243

static double chinchilla(double n)
{
    return CHINCHILLA_PER_PARAM * n;
}

/* D ~ C^e and C ~ N D, so D ~ N^(e / (1 - e)). */
static double llama3(double n)
{
    return LLAMA3_TOKENS * pow(n / LLAMA3_PARAMS, LLAMA3_EXPONENT / (1.0 - LLAMA3_EXPONENT));
}

static double deepseek(double n)
{
    double m = 6.0 * n;
    return pow(m / DEEPSEEK_M, 1.0 / DEEPSEEK_M_EXPONENT) / m;
}

static struct range laws(double n)
{
    double c = chinchilla(n), l = llama3(n), d = deepseek(n);
    return (struct range){fmin(fmin(c, l), d), sqrt(c * l), fmax(fmax(c, l), d)};
}

struct range plan_optimal_tokens(const struct model_config *m)
{
    double active = plan_model_active_params(m), total = plan_model_params(m);
    if (total <= active * 1.001) return laws(active);
    return (struct range){laws(active).low, laws(sqrt(active * total)).mid, laws(total).high};
}
