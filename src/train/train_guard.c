/* train_guard.c: a bad update is recognised before it touches the weights.
 *
 * One batch with broken text, one flipped bit in memory or one overflow can undo days. So each
 * step's loss and gradient norm are held against the last `window` steps: not finite, or above
 * mean + sigma * deviation, and the update is skipped, weights and moments staying as they are.
 *
 * Skipped values enter the window too where they are finite (as in OLMo-core's SkipStepOptimizer):
 * otherwise a true change of level, say after a switch of data, would be refused for ever. A
 * deviation below 1 % of the mean counts as 1 %, so that a flat curve does not turn noise into
 * outliers. Nothing is judged but finiteness before the window is full. */
#include "train/train_internal.h"

#include <math.h>

#define MIN_RELATIVE_DEVIATION 0.01

void train_guard_init(struct train_guard *g, double sigma, int64_t window, struct arena *a)
{
    g->sigma = sigma;
    g->window = window;
    g->count = 0;
    g->loss = arena_alloc(a, (size_t)window * sizeof(double));
    g->norm = arena_alloc(a, (size_t)window * sizeof(double));
}

static double threshold(const struct train_guard *g, const double *ring)
{
    double n = (double)g->window, mean = 0, square = 0;
    for (int64_t i = 0; i < g->window; i++)
        mean += ring[i] / n;
    for (int64_t i = 0; i < g->window; i++)
        square += (ring[i] - mean) * (ring[i] - mean) / n;
    return mean + g->sigma * fmax(sqrt(square), MIN_RELATIVE_DEVIATION * fabs(mean));
}

enum train_verdict train_guard_judge(struct train_guard *g, double loss, double norm)
{
    if (!isfinite(loss) || !isfinite(norm)) return TRAIN_UPDATE_NOT_FINITE;
    enum train_verdict verdict = TRAIN_UPDATE_GOOD;
    if (g->sigma > 0 && g->count >= g->window) {
        if (loss > threshold(g, g->loss))
            verdict = TRAIN_UPDATE_LOSS;
        else if (norm > threshold(g, g->norm))
            verdict = TRAIN_UPDATE_NORM;
    }
    g->loss[g->count % g->window] = loss;
    g->norm[g->count % g->window] = norm;
    g->count++;
    return verdict;
}

const char *train_verdict_text(enum train_verdict v)
{
    static const char *const texts[] = {
        [TRAIN_UPDATE_GOOD] = "good",
        [TRAIN_UPDATE_NOT_FINITE] = "loss or gradient norm not finite",
        [TRAIN_UPDATE_LOSS] = "loss beyond the running threshold",
        [TRAIN_UPDATE_NORM] = "gradient norm beyond the running threshold",
    };
    return texts[v];
}
