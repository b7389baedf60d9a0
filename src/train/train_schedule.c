/* train_schedule.c: the learning rate over a run, counted in tokens.
 *
 * Tokens, not steps, so that another batch size keeps the shape of the curve. With w warm-up
 * tokens, n tokens of the run and f the final fraction, at token t (the end of the update's batch):
 *
 *   t < w       t / w
 *   cosine      f + (1 - f) (1 + cos(pi (t - w) / (n - w))) / 2
 *   constant    1
 *   wsd         1 until n - d, then f + (1 - f) (1 - sqrt((t - (n - d)) / d))
 *
 * The 1 - sqrt decay is Haegele et al. 2024 (2405.18392), who find it the best of those tried. The
 * last update has t <= n but for rounding up to whole steps; beyond n the value stays at f. */
#include "train/train_internal.h"

#include <math.h>

double train_schedule_fraction(const struct train_config *c, int64_t tokens)
{
    double t = (double)tokens, n = (double)c->tokens;
    double w = (double)c->warmup_tokens, f = c->final_lr_fraction;
    if (t < w) return t / w;
    if (c->schedule == TRAIN_SCHEDULE_CONSTANT) return 1;
    double start = c->schedule == TRAIN_SCHEDULE_WSD ? n - (double)c->decay_tokens : w;
    if (t <= start) return 1;
    if (t >= n) return f;
    double x = (t - start) / (n - start);
    double shape = c->schedule == TRAIN_SCHEDULE_WSD ? 1 - sqrt(x) : 0.5 * (1 + cos(M_PI * x));
    return f + (1 - f) * shape;
}
